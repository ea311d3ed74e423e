"""Parquet as blocks of rows: a row group each, of which only the columns that are wanted are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from functions.prepare_shard.cell_grid import REFUSED
from functions.prepare_shard.parquet_pages import Values, read_chunk
from functions.prepare_shard.table_blocks import Block, TableReader, max_rows
from lehr.errors import MalformedDataError, MismatchedDataError
from lehr.number_cells import FLOAT32_MAX
from lehr.parquet_footer import BOOLEAN, BYTE_ARRAY, ParquetColumn, ParquetFile, RowGroup

_TRUTHS = ("false", "true")
Fetch = Callable[[int, int], bytes]


class ParquetBlocks:
    """A reader of one file's row groups; `fetch` gives bytes of the file."""

    def __init__(self, reader: TableReader, described: ParquetFile, fetch: Fetch, place: str) -> None:
        schema = reader.schema
        wanted = [*reader.numbers, *reader.categories, schema.target]
        absent = [name for name in wanted if name not in described.columns]
        if absent:
            raise MismatchedDataError(
                f"has no column {', '.join(absent)}",
                place=place,
                hint="all files of a table have the same columns",
            )
        self._reader, self._fetch, self._place = reader, fetch, place
        self._groups, self._columns = described.groups, described.columns
        for name in [*reader.numbers, *([] if schema.labels else [schema.target])]:
            if described.columns[name].type == BYTE_ARRAY:
                raise MismatchedDataError(
                    f"has texts in the column {name}",
                    place=place,
                    hint="a column is of one type in all files",
                )

    def read(self, first: int, end: int) -> Iterator[tuple[int, Block]]:
        """Blocks of the row groups [first, end), each with the number of the next; lines are rows from 1."""
        for number in range(first, end):
            yield number + 1, self._block(self._groups[number])

    def _block(self, group: RowGroup) -> Block:
        reader, problems = self._reader, dict[int, str]()
        # Of equal values a page of a few bytes holds as many as its header says.
        most = max_rows(len(reader.numbers), len(reader.categories))
        if group.rows > most:
            raise MalformedDataError(
                f"has a row group of {group.rows} rows, more than the {most} that fit",
                place=self._place,
                hint="write it with smaller row groups, for example row_group_size=1_000_000",
            )
        numbers = np.empty((group.rows, len(reader.numbers)), dtype=np.float32)
        for place, name in enumerate(reader.numbers):
            numbers[:, place] = self._numbers(group, name, problems)
        codes = np.empty((group.rows, len(reader.categories)), dtype=np.int32)
        for place, name in enumerate(reader.categories):
            codes[:, place] = self._codes(group, name, partial(self._code, name), problems)
        target = reader.schema.target
        if reader.schema.labels:
            targets = self._codes(group, target, lambda text: int(reader.target(text)), problems).astype(
                np.float32
            )
        else:
            targets = self._numbers(group, target, problems)
            for row in np.flatnonzero(np.isnan(targets)).tolist():
                problems.setdefault(row, f"{target}: the number to predict is missing")
        lines = np.arange(group.before + 1, group.before + group.rows + 1)
        if not problems:
            return Block(numbers, codes, targets, lines)
        refused = [reader.refused(group.before + row + 1, problems[row]) for row in sorted(problems)]
        kept = np.ones(group.rows, dtype=bool)
        kept[list(problems)] = False
        return Block(numbers[kept], codes[kept], targets[kept], lines[kept], refused)

    def _code(self, name: str, text: str) -> int:
        return self._reader.texts.code(self._reader.rows.category(name, text))

    def _numbers(self, group: RowGroup, name: str, problems: dict[int, str]) -> np.ndarray:
        values = self._values(group, name)
        wide = np.full(group.rows, np.nan)
        wide[values.is_given] = values.numbers
        beyond = np.abs(wide) > FLOAT32_MAX
        for row in np.flatnonzero(beyond).tolist():
            problems.setdefault(row, f"{name}: '{wide[row]:g}' is no number within float32")
        wide[beyond] = np.nan
        return wide.astype(np.float32)

    def _codes(
        self, group: RowGroup, name: str, meaning: Callable[[str], int], problems: dict[int, str]
    ) -> np.ndarray:
        """What each text means; a number or a truth value stands for its text, and what is missing for an empty one."""
        values = self._values(group, name)
        texts, codes = _as_texts(values, self._columns[name])
        found, reasons = [], dict[int, str]()
        for place, text in enumerate([*texts, b""]):
            try:
                found.append(meaning(text.decode()))
            except ValueError as fault:
                found.append(REFUSED)
                reasons[place] = (
                    str(fault) if not isinstance(fault, UnicodeDecodeError) else "text that is not UTF-8"
                )
        places = np.full(group.rows, len(texts))
        places[values.is_given] = codes
        meanings: np.ndarray = np.array(found, dtype=np.int64)[places]
        for row in np.flatnonzero(meanings == REFUSED).tolist():
            reason = reasons[int(places[row])]
            problems.setdefault(
                row, reason if reason.startswith(name) else f"{name}: {reason.removeprefix(': ')}"
            )
        return meanings

    def _values(self, group: RowGroup, name: str) -> Values:
        column = self._columns[name]
        chunk = group.chunks.get(name)
        problem = "is not there in a row group" if chunk is None else chunk.misfit
        if column.kind not in ("number", "category"):
            problem = column.kind
        if chunk is None or problem:
            raise MalformedDataError(f"has a column {name} that {problem}", place=self._place)
        raw = self._fetch(chunk.first, chunk.bytes)
        return read_chunk(raw, chunk, column, group.rows, place=self._place)


def _as_texts(values: Values, column: ParquetColumn) -> tuple[list[bytes], np.ndarray]:
    """The different texts of a column, and the place of each value's."""
    if column.type == BYTE_ARRAY:
        return values.texts, values.codes
    known, codes = np.unique(values.numbers, return_inverse=True)
    texts = [_TRUTHS[one] if column.type == BOOLEAN else str(one) for one in known.tolist()]
    return [text.encode() for text in texts], codes
