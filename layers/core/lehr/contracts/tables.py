"""Tables: what their columns are, and what preparation has found in them.

A column is a `number` or a `category`; whatever a recipe leaves open is inferred from the first rows of the data
(`lehr.table_schema`) and travels with every unit, so that all of them read the same table.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from lehr.contracts.document import Part

ColumnKind = Literal["number", "category"]


class Column(Part, frozen=True, kw_only=True):
    """A column of the inputs. `hashed_for` is of a category of personal data alone: the project whose pseudonyms stand
    for its values, see `lehr_runtime.pseudonyms`.
    """

    name: str
    kind: ColumnKind
    hashed_for: str | UnsetType = UNSET


class TableSchema(Part, frozen=True, kw_only=True):
    """How a file of rows is read: its inputs in the model's order, what is predicted, and which cells say nothing.

    `labels` are the values that the target may have; without any it is a number.
    """

    columns: list[Column]
    target: str
    labels: list[str]
    delimiter: str
    missing: list[str]

    @property
    def hashed(self) -> frozenset[str]:
        """The columns whose values are pseudonyms."""
        return frozenset(column.name for column in self.columns if column.hashed_for is not UNSET)

    def named(self, kind: ColumnKind) -> list[str]:
        """The columns of one kind, in order."""
        return [column.name for column in self.columns if column.kind == kind]


class NumberColumn(Part, frozen=True, kw_only=True):
    """Mean and standard deviation over the training rows that have a value, and how many have none."""

    name: str
    mean: float
    std: float
    missing: int


class CategoryColumn(Part, frozen=True, kw_only=True):
    """The values that a model tells apart, in order; its code is a value's place from 1, and 0 stands for all else."""

    name: str
    values: list[str]
    missing: int


class TableStatistics(Part, frozen=True, kw_only=True):
    """What a manifest says of a table: numbers come first in the model's inputs, then the codes of the categories.

    `target_mean` and `target_std` are of a number to predict, in its own units.
    """

    table: TableSchema
    numbers: list[NumberColumn]
    categories: list[CategoryColumn]
    refused: int
    target_mean: float = 0.0
    target_std: float = 1.0
