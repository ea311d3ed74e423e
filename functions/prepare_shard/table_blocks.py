"""What readers of every format give: blocks of rows as arrays, with texts as places in one list of the unit's texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from functions.prepare_shard.quarantine import Refused
from lehr.contracts.tables import TableSchema
from lehr.number_cells import read_number
from lehr_runtime.tables import RowReader, schema_reader

# What the rows take beside the text: narrow ones are many, and an array and its copy are there at once.
MAX_ARRAY_BYTES = 1 << 30


@dataclass(frozen=True)
class Block:
    """`numbers` float32 [rows, n], `codes` int32 [rows, m] of Texts, `targets` float32 [rows], the line (of Parquet the
    row) that each begins at as int64 [rows], and what was refused."""

    numbers: np.ndarray
    codes: np.ndarray
    targets: np.ndarray
    lines: np.ndarray
    refused: list[Refused] = field(default_factory=list)


def max_rows(numbers: int, categories: int) -> int:
    """How many rows of so many columns fit beside what they are read from."""
    return MAX_ARRAY_BYTES // (8 * numbers + 16 * categories + 64)


class Texts:
    """The texts of a unit's categories, each once; its code is its place."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.all)

    def code(self, text: str) -> int:
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.all)
            self.all.append(text)
        return found


def block_end(raw: bytes, first: int, end: int, count: int) -> int:
    """The end of the block of whole lines of about `count` bytes that begins at `first`; `end` at most."""
    stop = first + count
    if stop >= end:
        return end
    return (raw.rfind(b"\n", first, stop) + 1) or (raw.find(b"\n", stop, end) + 1) or end


class TableReader:
    """Rows of one schema: what a cell means, and why one is refused. The exact way, a row at a time.

    `byte` is where in the file lines are counted from; `pii_key` is the secret of pseudonyms.
    """

    def __init__(self, schema: TableSchema, file: str, pii_key: str = "") -> None:
        self.schema, self.texts, self.pii_key = schema, Texts(), pii_key
        self.numbers, self.categories = schema.named("number"), schema.named("category")
        self.rows: RowReader = schema_reader(schema, pii_key)
        self._labels = {label: place for place, label in enumerate(schema.labels)}
        self._file, self.byte = file, 0

    def refused(self, line: int, reason: str) -> Refused:
        return Refused(self._file, line, reason, self.byte)

    def target(self, cell: str) -> float:
        """The place of a label, or the number. Raises ValueError."""
        schema, text = self.schema, cell.strip()
        if schema.labels:
            if text in self._labels:
                return self._labels[text]
            raise ValueError(f"{schema.target}: {text[:40]!r} is none of data.labels")
        if text in schema.missing:
            raise ValueError(f"{schema.target}: the number to predict is missing")
        try:
            return read_number(text)
        except ValueError as fault:
            raise ValueError(f"{schema.target}: {text[:40]!r} is no number within float32") from fault

    def builder(self) -> BlockBuilder:
        return BlockBuilder(self)


class BlockBuilder:
    """A block, a row after the other."""

    def __init__(self, reader: TableReader) -> None:
        self._reader = reader
        self._numbers: list[Sequence[float]] = []
        self._codes: list[list[int]] = []
        self._targets: list[float] = []
        self._lines: list[int] = []
        self.refused: list[Refused] = []

    def add(self, line: int, numbers: Sequence[float], categories: Sequence[str], target: float) -> None:
        self._numbers.append(numbers)
        self._codes.append([self._reader.texts.code(text) for text in categories])
        self._targets.append(target)
        self._lines.append(line)

    def add_block(self, block: Block) -> None:
        """The rows of a small block that was read with the same texts."""
        self._numbers += block.numbers.tolist()
        self._codes += block.codes.tolist()
        self._targets += block.targets.tolist()
        self._lines += block.lines.tolist()

    def block(self) -> Block:
        rows, reader = len(self._targets), self._reader
        return Block(
            np.array(self._numbers, dtype=np.float32).reshape(rows, len(reader.numbers)),
            np.array(self._codes, dtype=np.int32).reshape(rows, len(reader.categories)),
            np.array(self._targets, dtype=np.float32),
            np.array(self._lines, dtype=np.int64),
            self.refused,
        )
