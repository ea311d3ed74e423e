"""Where the first row of a part of a CSV file begins: the same place for the unit before, which ends there.

Whether a byte lies within a quoted cell is known only to who has read all before it. So a border is guessed, by both
units from the same bytes, and proved by one: the unit before reads its rows from a border that is one to this one, and
fails if a row goes on behind it (`csv_blocks`). The first unit begins at the start of the file, so that by induction
every row is read, once, as a reader of the whole file would read it; or the run fails, and never is a row other than it
was.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from lehr.errors import MalformedDataError

# A row is no longer than this, and what is looked at behind a cut.
WINDOW_BYTES = 1 << 20
_ROWS_LOOKED_AT = 32


def csv_border(window: bytes, *, delimiter: str, width: int, at_end: bool, place: str) -> int:
    """The place in `window` of the border that belongs to its first byte: behind the first line with rows behind it.

    `width` is the number of cells of a row; `at_end`: the file ends with the window. Raises MalformedDataError for a
    line that is longer than a window.
    """
    first = line_border(window, at_end=at_end, place=place)
    if b'"' not in window:
        return first
    border = first
    while 0 < border < len(window):
        if _has_rows(window, border, delimiter, width):
            return border
        border = window.find(b"\n", border) + 1
    return len(window) if at_end else first


def line_border(window: bytes, *, at_end: bool, place: str) -> int:
    """The place in `window` behind its first end of a line. Raises MalformedDataError where there is none."""
    found = window.find(b"\n") + 1
    if found:
        return found
    if at_end:
        return len(window)
    raise MalformedDataError(
        f"has a line of more than {WINDOW_BYTES} bytes",
        place=place,
        hint="is it text with one row a line? Otherwise cut it into several files",
    )


def _has_rows(window: bytes, first: int, delimiter: str, width: int) -> bool:
    """Whether the next lines look like rows: of `width` cells, and each with all its quotes closed."""
    end = first
    for _ in range(_ROWS_LOOKED_AT):
        end = window.find(b"\n", end) + 1 or end
    lines = window[first:end].decode("utf-8", "replace").splitlines(keepends=True)
    left, taken = iter(lines), list[str]()

    def feed() -> Iterator[str]:
        for line in left:
            taken.append(line)
            yield line

    for number, cells in enumerate(csv.reader(feed(), delimiter=delimiter)):
        if sum(line.count('"') for line in taken) % 2:
            return number > 0 and next(left, None) is None  # the last may go on
        taken.clear()
        if cells and len(cells) != width:
            return False
    return True
