"""From the statistics of a dataset version to the reference that its model is watched by."""

from __future__ import annotations

from bisect import bisect_left

from lehr.contracts.profile import (
    QUANTILES,
    CategoryStatistics,
    DatasetStatistics,
    NumberStatistics,
)
from lehr.contracts.reference import (
    MAX_BINS,
    MAX_COLUMNS,
    CategoryReference,
    ModelReference,
    NumberReference,
)

# By how many steps between two quantiles a rank may be off, see lehr_runtime.sketches; a test looks at it for units of
# 64 rows and more.
RANK_STEPS = 2


def reference_of(statistics: DatasetStatistics) -> ModelReference:
    """The first MAX_COLUMNS numbers, and as many categories whose values may be shown."""
    return ModelReference(
        numbers=[_number(one) for one in statistics.numbers[:MAX_COLUMNS]],
        categories=[_category(one) for one in statistics.categories[:MAX_COLUMNS]],
    )


def _number(one: NumberStatistics) -> NumberReference:
    """Bins of about as many rows each, fewer where many rows have one value."""
    steps = QUANTILES - 1
    stride = steps // MAX_BINS
    edges = sorted(set(one.quantiles[stride:steps:stride]))
    # Of the quantiles, the first that is an edge: what is below it is below the edge too.
    places = [bisect_left(one.quantiles, edge) for edge in edges]
    return NumberReference(
        name=one.name,
        edges=edges,
        low=[max(0.0, (place - RANK_STEPS) / steps) for place in places],
        high=[min(1.0, (place + RANK_STEPS) / steps) if place else 0.0 for place in places],
        rows=one.rows,
        missing=one.missing,
    )


def _category(one: CategoryStatistics) -> CategoryReference:
    """Of a category whose values may not be shown, only whether there was one."""
    counts = [value.rows for value in one.top]
    return CategoryReference(
        name=one.name,
        values=[value.value for value in one.top],
        counts=counts,
        other=one.rows - sum(counts),
        missing=one.missing,
    )
