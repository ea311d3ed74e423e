"""The file of a unit, or its part of it, as blocks of rows, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from functions.prepare_shard.borders import WINDOW_BYTES, csv_border, line_border
from functions.prepare_shard.csv_blocks import UNCUT, CsvBlocks
from functions.prepare_shard.jsonl_blocks import JsonlBlocks
from functions.prepare_shard.table_blocks import Block, TableReader
from lehr.archived_objects import ArchivedObjects
from lehr.contracts.table_units import PrepareTableUnit
from lehr.csv_rows import byte_rows, read_header
from lehr.errors import ContractError, MalformedDataError, MissingDataError
from lehr.file_formats import shown_name
from lehr.parquet_footer import read_footer
from lehr.ports import ObjectStore
from lehr_runtime.decode import inflate_text

# Twice as much is in memory at once, and the arrays, of the 2 GB that the function has.
MAX_TEXT_BYTES = 256 << 20
AT_END = -1
_MARK = b"\xef\xbb\xbf"
Blocks = Iterator[tuple[int, Block]]


def open_blocks(unit: PrepareTableUnit, data: ObjectStore, pii_key: str = "") -> tuple[TableReader, Blocks]:
    """What reads the unit's rows, and blocks of them, each with where the next begins, AT_END behind the last.

    Raises DataError's children for a file to put right, ContractError for a unit that no plan of ours contains.
    """
    if unit.file.bucket != data.bucket:
        raise ContractError(
            f"the unit names bucket {unit.file.bucket}; raw data is read from {data.bucket} only"
        )
    source, file = _Source(unit, ArchivedObjects(data)), shown_name(unit.file.key)
    if unit.format == "parquet":
        return source.parquet(TableReader(unit.table, file, pii_key))
    raw, offset = source.text()
    reader = TableReader(unit.table, file, pii_key)
    if unit.format == "jsonl":
        behind, line = len(_MARK) if not unit.first and raw.startswith(_MARK) else 0, 1
        blocks: JsonlBlocks | CsvBlocks = JsonlBlocks(reader)
        first, end = source.rows(raw, behind, line_border)
    else:
        names, behind, line = source.header(raw)
        blocks = CsvBlocks(reader, names, source.place)
        border = partial(csv_border, delimiter=unit.table.delimiter, width=len(names))
        first, end = source.rows(raw, behind, border)
    if unit.first:
        reader.byte = offset + first
    return reader, _shifted(blocks.read(raw, first, end, line), offset, end)


def _shifted(blocks: Blocks, offset: int, end: int) -> Blocks:
    """Positions in the file instead of those in what was read of it."""
    for position, block in blocks:
        yield AT_END if position >= end else position + offset, block


class _Source:
    """What of the file is fetched, and which rows in it are the unit's."""

    def __init__(self, unit: PrepareTableUnit, data: ObjectStore) -> None:
        self._unit, self._data, self._file, self._key = unit, data, unit.file, unit.file.key
        self.place = data.uri(unit.file.key)

    def parquet(self, reader: TableReader) -> tuple[TableReader, Blocks]:
        """Of the unit's row groups. The library for pages is imported where there are some."""
        from functions.prepare_shard.parquet_blocks import ParquetBlocks

        unit = self._unit
        try:
            described = read_footer(unit.file, self._data)
        except KeyError as fault:
            raise self._gone() from fault
        end = unit.first + unit.count
        if not 0 <= unit.first < end <= len(described.groups):
            raise ContractError(
                f"the unit asks for row groups {unit.first} to {end} of {len(described.groups)}"
            )
        blocks = ParquetBlocks(reader, described, self._range, self.place)
        return reader, _shifted(blocks.read(unit.first, end), 0, end)

    def text(self) -> tuple[bytes, int]:
        """The bytes to read rows from, and where in the file they begin."""
        unit = self._unit
        if unit.count:
            return self._range(unit.first, unit.count + WINDOW_BYTES), unit.first
        return inflate_text(self._whole(), place=self.place, max_bytes=MAX_TEXT_BYTES), 0

    def header(self, raw: bytes) -> tuple[Sequence[str], int, int]:
        """The names of a CSV file's columns, the byte behind them, and its line; of a part, 0 and 1."""
        unit = self._unit
        is_here = not (unit.count and unit.first)
        start = raw if is_here else self._range(0, WINDOW_BYTES)
        mark = len(_MARK) if start.startswith(_MARK) else 0
        rows = byte_rows(start, mark, 1, unit.table.delimiter, place=self.place)
        named = (row for row in rows if any(cell.strip() for cell in row[1]))
        _, cells, behind, line = next(named, (1, [], len(start), 1))
        names = read_header(cells, place=self.place)
        return (names, behind, line) if not unit.first else (names, 0, 1)

    def rows(self, raw: bytes, behind: int, border: Callable[..., int]) -> tuple[int, int]:
        """Where in `raw` the unit's rows begin, not before `behind`, and end."""
        unit = self._unit
        if not unit.count:
            return max(behind, unit.first), len(raw)
        first, end = behind, len(raw)
        if unit.first and not unit.part:
            first = self._border(raw, 0, border)
        if unit.first + unit.count < unit.file.bytes:
            end = self._border(raw, unit.count, border)
        if end < first:
            raise MalformedDataError(
                f"has no clear borders of rows about byte {unit.first + unit.count}",
                place=self.place,
                hint=UNCUT,
            )
        return first, end

    def _border(self, raw: bytes, cut: int, border: Callable[..., int]) -> int:
        window = raw[cut : cut + WINDOW_BYTES]
        at_end = self._unit.first + cut + WINDOW_BYTES >= self._unit.file.bytes
        return cut + border(window, at_end=at_end, place=self.place)

    def _whole(self) -> bytes:
        try:
            return self._data.get(self._key, etag=self._file.etag, version=self._file.version_or_none)
        except KeyError as fault:
            raise self._gone() from fault

    def _range(self, first: int, count: int) -> bytes:
        try:
            return self._data.get_range(
                self._key, first, count, etag=self._file.etag, version=self._file.version_or_none
            )
        except KeyError as fault:
            raise self._gone() from fault

    def _gone(self) -> MissingDataError:
        return MissingDataError("is not there", place=self.place, hint="it was deleted after _READY")
