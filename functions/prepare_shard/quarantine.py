"""What is set aside, and why: one line of JSON for each."""

from __future__ import annotations

import msgspec

MAX_QUARANTINED = 10_000


class Refused(msgspec.Struct, frozen=True):
    """An example that was set aside; `line` counts from 1 in its file, and is 0 where the file is the example."""

    file: str
    line: int
    reason: str
