"""Rows of a table from CSV that is to be predicted: with a first line of names, in any order, or without one."""

from __future__ import annotations

from collections.abc import Sequence

from lehr.contracts.tables import Column
from lehr.csv_rows import find_delimiter, iterate_rows
from lehr.errors import MalformedDataError
from lehr_runtime.tables import CellError, RowReader, Table


def read_csv(
    text: str, columns: Sequence[Column], missing: Sequence[str], *, max_rows: int, pii_key: str = ""
) -> Table:
    """1 to `max_rows` rows; columns that the model does not take are passed over where the first line has names.

    A first line with half of the names, at least, is one of names.

    Raises MalformedDataError whose place is `rows`, or the row, as `rows[3]`; no cell is repeated.
    """
    names = [column.name for column in columns]
    lines = iterate_rows(text, find_delimiter(text.partition("\n")[0]), place="rows")
    reader = RowReader(columns, missing, pii_key)
    builder = reader.builder()
    places: Sequence[int] = range(len(names))
    width, count = len(names), 0
    for number, (_, cells) in enumerate(lines):
        if number == 0:
            header = [cell.strip() for cell in cells]
            if _is_header(header, names):
                places, width = [header.index(name) for name in names], len(header)
                continue
        place = f"rows[{count}]"
        if len(cells) != width:
            raise MalformedDataError(f"{len(cells)} cells, not {width}", place=place)
        if count == max_rows:
            raise MalformedDataError(f"more than {max_rows} rows", place="rows")
        try:
            builder.add(*reader.read([cells[at] for at in places]))
        except CellError as fault:
            raise MalformedDataError(fault.told, place=place) from fault
        count += 1
    if not count:
        raise MalformedDataError("no rows", place="rows")
    return builder.table()


def _is_header(header: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the first line has the columns' names. Raises MalformedDataError for one that has but some, or twice."""
    absent = [name for name in names if name not in header]
    if 2 * len(absent) > len(names):
        return False
    if absent:
        raise MalformedDataError(f"the first line has no column {absent[0]}", place="rows")
    twice = next((name for name in names if header.count(name) > 1), None)
    if twice is not None:
        raise MalformedDataError(f"the first line has two columns {twice}", place="rows")
    return True
