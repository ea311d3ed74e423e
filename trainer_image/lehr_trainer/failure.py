"""What went wrong, in one sentence for `output/failure` and with its line in the log.

A person reads the reason first, and the last lines of the log second. An error of the project's own code is
often raised deep inside torch: the line to mend is the deepest one *of the project*, so that is named.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from pathlib import Path

from lehr.errors import UserError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def reason_of(fault: BaseException, code_folder: Path) -> str:
    """One sentence or two: for a UserError its message, else what failed and, in the project's code, where."""
    if isinstance(fault, UserError):
        return str(fault)
    message = plain(f"{type(fault).__name__}: {fault}")
    line = project_line(fault, code_folder)
    return f"{line[0]}: {message}" if line else message


def plain(text: str) -> str:
    """In one line, and without the colours that Keras gives its messages."""
    return " ".join(_COLOUR.sub("", text).split())


def project_line(fault: BaseException, code_folder: Path) -> tuple[str, str] | None:
    """(`file.py:12 in forward`, source line) of the deepest frame in the project's code, if there is one."""
    if isinstance(fault, SyntaxError) and fault.filename and _is_project(fault.filename, code_folder):
        return f"{Path(fault.filename).name}:{fault.lineno}", (fault.text or "").strip()
    return _deepest_line(traceback.extract_tb(fault.__traceback__), code_folder)


def lines_when_stuck(
    fault: BaseException, stack: traceback.StackSummary, code_folder: Path
) -> tuple[list[str], str]:
    """What the log ends with and the reason, for a main thread that stands in `stack` and does not come back."""
    line = _deepest_line(stack, code_folder)
    place = line[0] if line else f"{Path(stack[-1].filename).name}:{stack[-1].lineno} in {stack[-1].name}"
    reason = f"{place}: {' '.join(f'{type(fault).__name__}: {fault}'.split())}"
    lines = ["the main thread stands here (most recent call last):", *"".join(stack.format()).splitlines()]
    if line:
        lines += [f"the project's line: {line[0]}", f"    {line[1]}"]
    return [*lines, f"FAILED: {reason}"], reason


def log_lines(fault: BaseException, code_folder: Path) -> list[str]:
    """What the log ends with: a traceback unless a person's input is at fault, the line, the reason."""
    lines = []
    if not isinstance(fault, UserError):
        lines = "".join(traceback.format_exception(fault)).splitlines()
    # A UserError that an error of the project's code has led to says which; its traceback would be half ours.
    line = project_line(fault.__cause__ or fault if isinstance(fault, UserError) else fault, code_folder)
    if line:
        lines += [f"the project's line: {line[0]}", f"    {line[1]}"]
    return [*lines, f"FAILED: {reason_of(fault, code_folder)}"]


def _deepest_line(frames: Iterable[traceback.FrameSummary], code_folder: Path) -> tuple[str, str] | None:
    for frame in reversed(list(frames)):
        if _is_project(frame.filename, code_folder):
            place = Path(frame.filename).relative_to(code_folder)
            return f"{place}:{frame.lineno} in {frame.name}", (frame.line or "").strip()
    return None


def _is_project(filename: str, code_folder: Path) -> bool:
    return Path(filename).is_relative_to(code_folder)
