"""Files of a table as units of work, and what each of them writes."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.dataset import ObjectRef, Shard
from lehr.contracts.document import Document, Part
from lehr.contracts.recipe_tables import Range
from lehr.contracts.tables import TableSchema


class PrepareTableUnit(Document, frozen=True, kw_only=True):
    """One file to prepare. What belongs to which split is a function of each row, see `functions.prepare_shard`."""

    schema: Literal[1] = 1
    kind: Literal["table"] = "table"
    project: str
    run: str
    index: int
    of: int
    file: ObjectRef
    table: TableSchema
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

    `categories` counts each column's values; `target` is of a number to predict, in its own units.
    """

    schema: Literal[1] = 1
    index: int
    shards: list[Shard]
    numbers: list[NumberSums]
    categories: list[dict[str, int]]
    target: NumberSums
    refused: int
