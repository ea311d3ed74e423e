"""`/opt/ml` of a container, as a folder of this machine: nobody but root could write there, and jobs would share it.

Each job has a folder of its own, which `LEHR_ML_ROOT` names; what names `/opt/ml` in its command or environment is
rewritten to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

ML_ROOT = "/opt/ml"
_IN_TEXT = re.compile(re.escape(ML_ROOT) + r"(?![\w-])")


def relocate(text: str, base: Path) -> str:
    """The text with `base` for `/opt/ml`, where that is the whole name of a folder."""
    return _IN_TEXT.sub(lambda _: str(base), text)


def relocate_command(command: Sequence[str], base: Path, python: Path) -> list[str]:
    """A command that runs here: `python` for the container's `python` or `python3`, `base` for `/opt/ml`."""
    program = str(python) if Path(command[0]).name in ("python", "python3") else command[0]
    return [relocate(word, base) for word in (program, *command[1:])]
