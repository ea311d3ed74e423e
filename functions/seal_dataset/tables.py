"""What a manifest says of a table: statistics of its columns, out of the units' sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

from lehr.contracts.table_units import NumberSums, PrepareTableUnit, TableUnitResult
from lehr.contracts.tables import CategoryColumn, NumberColumn, TableStatistics
from lehr.errors import InsufficientDataError

# A value that the training rows have once cannot be learnt from; what is rare is learnt together, as "all else".
MIN_CATEGORY_ROWS = 2
MAX_CATEGORIES = 20_000
# Of a mean: less is one value in float32, and what its sums in float64 leave of rounding.
CONSTANT_STD = 1e-7
SMALLEST_STD = 1.2e-38


def merge_statistics(plan: Sequence[PrepareTableUnit], results: Sequence[TableUnitResult]) -> TableStatistics:
    """Statistics of the training rows of all units. Raises InsufficientDataError naming a column to put right."""
    schema = plan[0].table
    numbers = [
        _number(name, [result.numbers[place] for result in results])
        for place, name in enumerate(schema.named("number"))
    ]
    categories = [
        _category(name, [result.categories[place] for result in results])
        for place, name in enumerate(schema.named("category"))
    ]
    target = _number(schema.target, [result.target for result in results]) if not schema.labels else None
    if target is not None and target.std == 0:
        raise InsufficientDataError(f"{schema.target} has one value in all training rows")
    return TableStatistics(
        table=schema,
        numbers=numbers,
        categories=categories,
        refused=sum(result.refused for result in results),
        target_mean=target.mean if target else 0.0,
        target_std=target.std if target else 1.0,
    )


def _number(name: str, parts: Sequence[NumberSums]) -> NumberColumn:
    rows = sum(part.rows for part in parts)
    mean = sum(part.total for part in parts) / rows if rows else 0.0
    variance = sum(part.squares for part in parts) / rows - mean**2 if rows else 0.0
    std = sqrt(max(variance, 0.0))
    return NumberColumn(
        name=name,
        mean=mean,
        std=std if std > max(CONSTANT_STD * abs(mean), SMALLEST_STD) else 0.0,
        missing=sum(part.missing for part in parts),
    )


def _category(name: str, parts: Sequence[dict[str, int]]) -> CategoryColumn:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part)
    missing = counts.pop("", 0)
    values = sorted(value for value, count in counts.items() if count >= MIN_CATEGORY_ROWS)
    if len(values) > MAX_CATEGORIES:
        raise InsufficientDataError(
            f"the column {name} has {len(values)} values, more than {MAX_CATEGORIES}",
            hint='leave it out with data.columns: "ignore", or make it coarser',
        )
    return CategoryColumn(name=name, values=values, missing=missing)
