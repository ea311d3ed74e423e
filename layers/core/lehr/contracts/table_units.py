"""Files of a table as units of work, and what each of them writes."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.data_tables import Range
from lehr.contracts.dataset import ObjectRef, Shard
from lehr.contracts.document import Document, Part
from lehr.contracts.tables import TableSchema

TableFormat = Literal["csv", "jsonl", "parquet"]


class PrepareTableUnit(Document, frozen=True, kw_only=True):
    """One file to prepare, or a part of it. Which split a row belongs to is its own matter, see
    `functions.prepare_shard`.

    With `count` it is the rows that begin in bytes [first, first + count) of a text, or the row groups [first,
    first + count) of Parquet; without it, all that begin at byte `first` or behind. Of a large plan `table` is empty,
    and stands in S3 under `table_key`. `part` counts the calls that the unit has taken before this one.
    """

    schema: Literal[1] = 1
    kind: Literal["table"] = "table"
    project: str
    run: str
    index: int
    of: int
    file: ObjectRef
    format: TableFormat = "csv"
    first: int = 0
    count: int = 0
    table: TableSchema
    table_key: str = ""
    part: int = 0
    is_test: bool
    seed: int
    validation_fraction: float
    test_fraction: float
    rows_per_shard: int
    max_refused_fraction: float
    ranges: dict[str, Range] = field(default_factory=dict)
    refuses_out_of_range: bool = False


class NumberSums(Part, frozen=True, kw_only=True):
    """Of one column of numbers, over the training rows of a unit; sums of what is there."""

    rows: int = 0
    missing: int = 0
    total: float = 0.0
    squares: float = 0.0


class TableUnitResult(Document, frozen=True, kw_only=True):
    """What a unit has written, and the sums from which statistics merge: of training rows alone.

    `categories` counts each column's values; `target` is of a number to predict, in its own units. `parts` name what
    the calls of a unit that took several have left beside it; empty of one call.
    """

    schema: Literal[1] = 1
    index: int
    shards: list[Shard]
    numbers: list[NumberSums]
    categories: list[dict[str, int]]
    target: NumberSums
    refused: int
    parts: list[str] = field(default_factory=list)


class TablePart(Document, frozen=True, kw_only=True):
    """What one call of a unit has written, where it takes several, and where the next goes on; -1: there is none."""

    schema: Literal[1] = 1
    result: TableUnitResult
    next_first: int


class PlannedTable(Document, frozen=True, kw_only=True):
    """The schema of all units of a plan that is too large to have it in each."""

    schema: Literal[1] = 1
    table: TableSchema
