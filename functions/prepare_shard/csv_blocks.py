"""CSV as blocks of rows: the plain part of it many cells at a time, and the rest as Python's own reader reads it.

A block without quotes is a matter of its separators, which are found all at once; its numbers are parsed by
`digits`, and of its texts each different one is looked at once. Whatever that leaves open, a cell, a row or a block
with quotes, goes the exact way (`lehr.csv_rows`), which also says what is wrong with it. Both give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from functions.prepare_shard.cell_grid import REFUSED, CellGrid, Meanings
from functions.prepare_shard.table_blocks import Block, BlockBuilder, TableReader, block_end
from lehr.csv_rows import byte_rows
from lehr.errors import MalformedDataError, MismatchedDataError
from lehr.number_cells import read_number

# Of text: its separators and cells, as 64-bit words, stay in a processor's cache.
BLOCK_BYTES = 256 << 10
UNCUT = "gzip it, or cut it into files of 64 MB, each with the header: those are read as one"


class CsvBlocks:
    """A reader of one file: `names` are its columns in its own order."""

    def __init__(self, reader: TableReader, names: Sequence[str], place: str) -> None:
        schema = reader.schema
        wanted = [column.name for column in schema.columns] + [schema.target]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise MismatchedDataError(
                f"has no column {', '.join(absent)}",
                place=place,
                hint="all files of a table have the same columns",
            )
        self._reader, self._place, self._width = reader, place, len(names)
        self._places = [names.index(name) for name in wanted]
        self._number_places = [names.index(name) for name in reader.numbers]
        self._category_places = [names.index(name) for name in reader.categories]
        self._delimiter = schema.delimiter
        self._missing = frozenset(schema.missing)
        self._known_numbers = Meanings[float](self._read_number, float("nan"))
        # A text means the same in all columns, but for those whose values become pseudonyms.
        shared = Meanings[int](partial(self._read_text, ""), REFUSED)
        self._known_texts = [
            Meanings[int](partial(self._read_text, name), REFUSED) if name in schema.hashed else shared
            for name in reader.categories
        ]
        self._known_labels = Meanings[int](self._read_label, REFUSED)
        self._known_targets = Meanings[float](reader.target, float("nan"))

    def read(self, raw: bytes, first: int, end: int, line: int) -> Iterator[tuple[int, Block]]:
        """Blocks of the rows in bytes [first, end), each with the byte behind it; `line` is the number of the first.

        Raises MalformedDataError if a row goes on behind `end`, as where a quoted cell was cut.
        """
        position = first
        while position < end:
            stop = block_end(raw, position, end, BLOCK_BYTES)
            plain = self._plain(raw[position:stop], line)
            if plain is not None:
                position, line, block = stop, line + plain[0], plain[1]
            else:
                position, line, block = self._exact(raw, position, stop, end, line)
            yield position, block

    def _exact(self, raw: bytes, first: int, stop: int, end: int, line: int) -> tuple[int, int, Block]:
        """The rows from `first` to the first end of one at or behind `stop`: that byte, its line, and the rows."""
        builder = self._reader.builder()
        position, next_line = stop, line
        for number, cells, behind, line_behind in byte_rows(
            raw, first, line, self._delimiter, place=self._place
        ):
            if behind > end:
                raise MalformedDataError(
                    f"has a row of several lines, from line {number} on, where it is cut into units of work",
                    place=self._place,
                    hint=UNCUT,
                )
            self._add(builder, number, cells)
            position, next_line = behind, line_behind
            if behind >= stop:
                break
        return position, next_line, builder.block()

    def _add(self, builder: BlockBuilder, line: int, cells: list[str]) -> None:
        """One row, or why it is refused; one that is blank is none."""
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            return
        try:
            if len(cells) != self._width:
                raise ValueError(f"{len(cells)} cells where the header has {self._width}")
            *inputs, target = [cells[place] for place in self._places]
            row, y = self._reader.rows.read(inputs), self._reader.target(target)
        except ValueError as fault:
            builder.refused.append(self._reader.refused(line, str(fault)))
            return
        builder.add(line, *row, y)

    def _plain(self, block: bytes, line: int) -> tuple[int, Block] | None:
        """All rows of a block at once, and how many lines it has; None for one that only the exact way reads."""
        grid = CellGrid.of(block, self._delimiter, self._width)
        if grid is None:
            return None
        numbers, codes, targets, is_refused = self._values(grid)
        others = grid.others
        if is_refused.any():
            others = np.sort(np.concatenate((others, grid.rows[is_refused])))
        builder = self._reader.builder()
        for row in others.tolist():
            text = grid.row_text(row)
            self._add(builder, line + row, text.split(self._delimiter) if text else [])
        lines = line + grid.rows
        if is_refused.any():
            kept = ~is_refused
            numbers, codes, targets, lines = numbers[kept], codes[kept], targets[kept], lines[kept]
        return len(grid.row_ends), Block(numbers, codes, targets, lines, builder.refused)

    def _values(self, grid: CellGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Numbers, codes and targets of the rows in the grid, and which rows have a cell that is refused."""
        numbers, is_bad = grid.numbers(self._number_places, self._known_numbers)
        is_refused = is_bad.any(axis=1)
        codes = np.empty((len(grid.rows), len(self._category_places)), dtype=np.int32)
        for number, place in enumerate(self._category_places):
            codes[:, number] = found = grid.codes(place, self._known_texts[number])
            is_refused |= found == REFUSED
        target = self._places[-1]
        if self._reader.schema.labels:
            labels = grid.codes(target, self._known_labels)
            return numbers, codes, labels.astype(np.float32), is_refused | (labels == REFUSED)
        targets, is_bad = grid.numbers([target], self._known_targets)
        return numbers, codes, targets[:, 0], is_refused | is_bad[:, 0]

    def _read_number(self, cell: str) -> float:
        text = cell.strip()
        return float("nan") if text in self._missing else read_number(text)

    def _read_text(self, name: str, cell: str) -> int:
        return self._reader.texts.code(self._reader.rows.category(name, cell))

    def _read_label(self, cell: str) -> int:
        return int(self._reader.target(cell))
