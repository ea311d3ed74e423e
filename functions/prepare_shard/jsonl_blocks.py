"""JSON Lines as blocks of rows: decoded by the function that the endpoint decodes its rows with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from functions.prepare_shard.table_blocks import Block, BlockBuilder, TableReader, block_end
from lehr.contracts.tables import Column
from lehr.errors import MalformedDataError
from lehr_runtime.tables import read_values

BLOCK_BYTES = 256 << 10
# Of arrays: a line of three bytes is a row of as many cells as there are columns.
MAX_BLOCK_CELLS = 4_000_000
_SHORTEST_LINE = len("{}\n")
# In the name of a field; https://jcristharif.com/msgspec/structs.html#renaming-fields
_UNNAMEABLE = re.compile(r'["\\\x00-\x1f]')


class _Decoder:
    """Objects as tuples of the values of some keys, None for one that is absent. Raises msgspec.DecodeError."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._are_fields = names, not any(map(_UNNAMEABLE.search, names))
        kind: Any = dict[str, Any]
        if self._are_fields:
            fields = [(f"key_{place}", Any, None) for place in range(len(names))]
            rename = {f"key_{place}": name for place, name in enumerate(names)}
            kind = msgspec.defstruct("Row", fields, rename=rename, gc=False)
        self._decoder = msgspec.json.Decoder(kind)

    def rows(self, lines: bytes) -> list[tuple[Any, ...]]:
        return [self._values(row) for row in self._decoder.decode_lines(lines)]

    def row(self, line: bytes) -> tuple[Any, ...]:
        return self._values(self._decoder.decode(line))

    def _values(self, row: Any) -> tuple[Any, ...]:
        return msgspec.structs.astuple(row) if self._are_fields else tuple(map(row.get, self._names))


class JsonlBlocks:
    """A reader of one file: an object a line, of which the schema's keys are taken; one that is absent is missing."""

    def __init__(self, reader: TableReader) -> None:
        schema = reader.schema
        self._reader, self._missing = reader, schema.missing
        self._columns = list(schema.columns)
        if not schema.labels:
            self._columns.append(Column(name=schema.target, kind="number"))
        names = [*(column.name for column in schema.columns), schema.target]
        self._decoder = _Decoder(names)
        self._block_bytes = min(BLOCK_BYTES, max(1, MAX_BLOCK_CELLS * _SHORTEST_LINE // len(names)))

    def read(self, raw: bytes, first: int, end: int, line: int) -> Iterator[tuple[int, Block]]:
        """Blocks of the rows in bytes [first, end), each with the byte behind it; `line` is the number of the first."""
        position = first
        while position < end:
            stop = block_end(raw, position, end, self._block_bytes)
            block = raw[position:stop]
            yield stop, self._together(block, line) or self._one_by_one(block, line)
            line += block.count(b"\n")
            position = stop

    def _together(self, block: bytes, line: int) -> Block | None:
        """All rows at once; None if there is anything to say of one."""
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        try:
            rows = self._decoder.rows(block)
            if len(rows) != count:  # there are blank lines
                return None
            return self._block(rows, np.arange(line, line + count))
        except (ValueError, msgspec.DecodeError, RecursionError):
            return None

    def _block(self, rows: Sequence[tuple[Any, ...]], lines: np.ndarray) -> Block:
        """Raises ValueError for the first value that does not fit its column."""
        reader = self._reader
        try:
            if reader.schema.labels:
                table = read_values(self._columns, self._missing, [row[:-1] for row in rows], reader.pii_key)
                numbers, targets = table.numbers, np.array([self._label(row[-1]) for row in rows], np.float32)
            else:
                table = read_values(self._columns, self._missing, rows, reader.pii_key)
                numbers, targets = table.numbers[:, :-1], table.numbers[:, -1]
        except MalformedDataError as fault:
            raise ValueError(f"{fault.place.partition('].')[2]}: {fault.message}") from fault
        if np.isnan(targets).any():
            raise ValueError(f"{reader.schema.target}: the number to predict is missing")
        codes = np.empty(table.categories.shape, dtype=np.int32)
        for place, column in enumerate(table.categories.T.tolist()):
            known = {text: reader.texts.code(text) for text in dict.fromkeys(column)}
            codes[:, place] = [known[text] for text in column]
        return Block(numbers, codes, targets, lines)

    def _label(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"{self._reader.schema.target}: {str(value)[:40]} is none of data.labels")
        return self._reader.target(str(value))

    def _one_by_one(self, block: bytes, line: int) -> Block:
        builder = self._reader.builder()
        for number, text in enumerate(block.split(b"\n"), start=line):
            if text.strip():
                self._add(builder, number, text)
        return builder.block()

    def _add(self, builder: BlockBuilder, line: int, text: bytes) -> None:
        try:
            row = self._block([self._row(text)], np.array([line]))
        except (msgspec.DecodeError, RecursionError) as fault:
            reason = "no JSON object" if isinstance(fault, msgspec.ValidationError) else f"no JSON: {fault}"
            builder.refused.append(self._reader.refused(line, reason))
        except ValueError as fault:
            builder.refused.append(self._reader.refused(line, str(fault)))
        else:
            builder.add_block(row)

    def _row(self, text: bytes) -> tuple[Any, ...]:
        """The values of a line; a text that means a missing value says so for numbers too."""
        row = list(self._decoder.row(text))
        for place, column in enumerate(self._columns):
            value = row[place]
            if isinstance(value, dict | list):
                kind = "an object" if isinstance(value, dict) else "a list"
                raise ValueError(f"{column.name}: {kind}, where a table has a number or a text")
            if column.kind == "number" and isinstance(value, str) and value.strip() in self._missing:
                row[place] = None
        return tuple(row)
