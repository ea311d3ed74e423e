"""Rows of delimited text, quoted or not (RFC 4180), each with the line that it begins at."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator

from lehr.errors import MalformedDataError

DELIMITERS = (",", ";", "\t", "|")
MAX_NAME_CHARACTERS = 256
_QUOTE_HINT = "a quote that opens a cell must be closed, and doubled within it"
_CHUNK_BYTES = 64 << 10
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


def iterate_rows(text: str, delimiter: str, *, place: str) -> Iterator[tuple[int, list[str]]]:
    """(line from 1, cells) of each row that is not blank. Raises MalformedDataError naming `place` and the line."""
    # Not through io.StringIO, which holds four bytes for each character.
    reader = csv.reader((found[0] for found in _LINE.finditer(text)), delimiter=delimiter)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            raise MalformedDataError(
                f"cannot be read from line {line} on: {fault}", place=place, hint=_QUOTE_HINT
            ) from fault
        if cells and not (len(cells) == 1 and not cells[0].strip()):
            yield line, cells
        line = reader.line_num + 1


def byte_rows(
    raw: bytes, first: int, line: int, delimiter: str, *, place: str
) -> Iterator[tuple[int, list[str], int, int]]:
    """Rows of UTF-8 from byte `first`, which begins line `line`: (line, cells, byte behind the row, line of that byte).

    Blank rows are among them, and text is decoded no further than rows are asked for.
    Raises MalformedDataError naming `place` and the line.
    """
    position, decoded = first, line

    def lines() -> Iterator[str]:
        nonlocal position, decoded
        at = first
        while at < len(raw):
            stop = raw.find(b"\n", at + _CHUNK_BYTES) + 1 or len(raw)
            for one in raw[at:stop].splitlines(keepends=True):
                try:
                    text = one.decode()
                except UnicodeDecodeError as fault:
                    raise MalformedDataError(
                        f"is not UTF-8 in line {decoded}",
                        place=place,
                        hint="save it as UTF-8, gzipped or plain",
                    ) from fault
                position, decoded = position + len(one), decoded + 1
                yield text
            at = stop

    reader = csv.reader(lines(), delimiter=delimiter)
    while True:
        begins = decoded
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            raise MalformedDataError(
                f"cannot be read from line {begins} on: {fault}", place=place, hint=_QUOTE_HINT
            ) from fault
        yield begins, cells, position, decoded


def find_delimiter(header: str) -> str:
    """The one of DELIMITERS that is commonest in the first line, outside of quotes; a comma where there is none."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def read_header(cells: list[str], *, place: str) -> list[str]:
    """The names of the columns. Raises MalformedDataError for one that is empty, too long, or there twice."""
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, start=1):
        if not name:
            raise MalformedDataError(
                f"column {number} has no name", place=place, hint="the first line must name every column"
            )
        if len(name) > MAX_NAME_CHARACTERS:
            raise MalformedDataError(
                f"the name of column {number} has {len(name)} characters, more than {MAX_NAME_CHARACTERS}",
                place=place,
                hint="is the first line one of names, and the delimiter the right one?",
            )
    twice, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise MalformedDataError(f"two columns are called {twice!r}", place=place, hint="rename one")
    return names
