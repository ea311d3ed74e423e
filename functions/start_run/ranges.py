"""[checks.ranges] against the columns that the data has: known only once its first rows were read."""

from __future__ import annotations

import difflib

from lehr.contracts.recipe import Recipe
from lehr.contracts.tables import TableSchema
from lehr.errors import MismatchedDataError


def refuse_foreign_ranges(recipe: Recipe, schema: TableSchema, *, place: str) -> None:
    """Raise MismatchedDataError for a range of what is no column of numbers."""
    numbers = schema.named("number") + ([] if schema.labels else [schema.target])
    for name in recipe.checks.ranges:
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, n=1)
            raise MismatchedDataError(
                f"checks.ranges names {name!r}, which is no column of numbers here",
                place=place,
                hint=f"did you mean {near[0]!r}?" if near else f"these are: {', '.join(numbers[:20])}",
            )
