"""Whether the endpoint is asked something else than the champion was trained on: pure rules over counts.

A column has drifted if it is far away *and* that is no chance. Far: a population stability index of `max_psi` or more,
or a distance of `max_distance` or more. No chance: a p-value below the false alarm rate, shared out among all
comparisons of a look (Bonferroni), so that a look at stationary traffic raises an alarm at most that often.

The reference of a number is a sketch: below an edge lies a share that is known to within two of 64 steps. Of all
training data that the sketch allows, that is taken which is nearest to what was seen. So psi, distance and p-value are
those of the true training data or milder, the distance by 4 / 64 = 0.0625 at most, plus what lies between two edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from lehr.contracts.capture import PredictionCapture
from lehr.contracts.drift import ColumnDrift, DriftThresholds
from lehr.contracts.recipe_tables import Watch
from lehr.contracts.reference import CategoryReference, ModelReference, NumberReference
from lehr.distributions import (
    chi_squared,
    chi_squared_survival,
    kolmogorov_survival,
    population_stability,
    total_variation,
)

# Rows of one request have much in common; so few requests say little, however many rows they have.
MIN_REQUESTS = 20
PREDICTIONS = "predicted labels"


@dataclass(kw_only=True)
class Seen:
    """Captured predictions of one model version, added up. Counts of columns are as in PredictionCapture."""

    requests: int = 0
    rows: int = 0
    numbers: list[list[int]] = field(default_factory=list)
    categories: list[list[int]] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)


def add_up(lines: Iterable[PredictionCapture], reference: ModelReference) -> Seen:
    """The sums over `lines`, each of another request; columns in other bins than the reference's are left out."""
    seen = Seen(
        numbers=[[0] * (len(one.edges) + 2) for one in reference.numbers],
        categories=[[0] * (len(one.values) + 2) for one in reference.categories],
    )
    shape = _shape(seen.numbers), _shape(seen.categories)
    for line in lines:
        seen.requests += 1
        seen.rows += line.rows
        seen.labels.update(one.label for one in line.predictions)
        if (_shape(line.number_counts), _shape(line.category_counts)) == shape:
            _add(seen.numbers, line.number_counts)
            _add(seen.categories, line.category_counts)
    return seen


def is_enough(seen: Seen, watch: Watch) -> bool:
    """Whether there is anything to judge by."""
    return seen.rows >= watch.min_rows and seen.requests >= MIN_REQUESTS


def compare(
    seen: Seen, reference: ModelReference, predicted: Mapping[str, int], watch: Watch
) -> tuple[list[ColumnDrift], DriftThresholds]:
    """Every column and the predicted labels, the furthest first; `predicted` are the counts of a test split's
    predictions by this model, empty where there are none. What has fewer than `min_rows` is left out.
    """
    measured = [one for one in _measured(seen, reference, predicted) if one.rows >= watch.min_rows]
    thresholds = DriftThresholds(
        min_rows=watch.min_rows,
        max_psi=watch.max_psi,
        max_distance=watch.max_distance,
        max_p_value=watch.false_alarm_rate / max(len(measured), 1),
    )
    judged = [
        ColumnDrift(
            name=one.name,
            kind=one.kind,
            rows=one.rows,
            psi=round(one.psi, 6),
            distance=round(one.distance, 6),
            p_value=one.p_value,
            has_drifted=one.p_value < thresholds.max_p_value
            and (one.psi >= watch.max_psi or one.distance >= watch.max_distance),
        )
        for one in measured
    ]
    return sorted(judged, key=lambda one: (not one.has_drifted, -one.distance, one.name)), thresholds


def nearest_reference(one: NumberReference, seen: Sequence[int]) -> list[float]:
    """The share of the training rows in each bin, as near to the counts `seen` in them as the sketch allows."""
    rows = sum(seen)
    below = [count / rows for count in accumulate(seen[:-1])]
    cut = [min(max(share, low), high) for share, low, high in zip(below, one.low, one.high, strict=True)]
    return [after - before for before, after in pairwise([0.0, *cut, 1.0])]


def _measured(seen: Seen, reference: ModelReference, predicted: Mapping[str, int]) -> Iterator[ColumnDrift]:
    for number, counts in zip(reference.numbers, seen.numbers, strict=True):
        if number.rows and sum(counts[:-1]):
            yield _of_number(number, counts[:-1])
        if number.missing or counts[-1]:
            yield _of_counts(
                number.name, "missing", [number.rows, number.missing], [sum(counts[:-1]), counts[-1]]
            )
    for category, counts in zip(reference.categories, seen.categories, strict=True):
        yield _of_category(category, counts)
    if predicted:
        labels = list(dict.fromkeys([*predicted, *seen.labels]))
        yield _of_counts(
            PREDICTIONS,
            "predictions",
            [predicted.get(label, 0) for label in labels],
            [seen.labels[label] for label in labels],
        )


def _of_number(one: NumberReference, counts: Sequence[int]) -> ColumnDrift:
    rows = sum(counts)
    expected = nearest_reference(one, counts)
    distance = max(
        (abs(a - b / rows) for a, b in zip(accumulate(expected), accumulate(counts), strict=True)),
        default=0.0,
    )
    return ColumnDrift(
        name=one.name,
        kind="number",
        rows=rows,
        # As many rows as were seen, so that an empty bin counts the same on both sides.
        psi=population_stability([share * rows for share in expected], counts),
        distance=distance,
        p_value=kolmogorov_survival(distance, one.rows, rows),
        has_drifted=False,
    )


def _of_category(one: CategoryReference, counts: Sequence[int]) -> ColumnDrift:
    return _of_counts(one.name, "category", [*one.counts, one.other, one.missing], counts)


def _of_counts(name: str, kind: str, expected: Sequence[int], counts: Sequence[int]) -> ColumnDrift:
    rows, scale = sum(counts), sum(counts) / (sum(expected) or 1)
    return ColumnDrift(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        rows=rows,
        psi=population_stability([count * scale for count in expected], counts),
        distance=total_variation(expected, counts),
        p_value=chi_squared_survival(*chi_squared(expected, counts)),
        has_drifted=False,
    )


def _shape(columns: Sequence[Sequence[int]]) -> list[int]:
    return [len(column) for column in columns]


def _add(sums: list[list[int]], counts: Sequence[Sequence[int]]) -> None:
    for total, more in zip(sums, counts, strict=True):
        for place, count in enumerate(more):
            total[place] += count
