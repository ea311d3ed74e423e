"""What is set aside, and why: one line of JSON for each."""

from __future__ import annotations

import msgspec

MAX_QUARANTINED = 10_000


class Refused(msgspec.Struct, frozen=True, omit_defaults=True):
    """An example that was set aside; `line` counts from 1 in its file, and is 0 where the file is the example.

    Of a file that is prepared in parts, `line` counts from the part's first, which begins at `byte`.
    """

    file: str
    line: int
    reason: str
    byte: int = 0

    @property
    def place(self) -> str:
        return f"line {self.line}" + (f" after byte {self.byte}" if self.byte else "")
