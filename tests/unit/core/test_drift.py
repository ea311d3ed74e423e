"""Drift: no false alarms beyond the stated rate, planted drifts found, and nothing said of thin traffic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from functions.predict.capture import count_columns, summarise
from lehr.contracts.capture import CapturedPrediction, PredictionCapture
from lehr.contracts.drift import ColumnDrift
from lehr.contracts.profile import CategoryStatistics, DatasetStatistics, ValueCount
from lehr.contracts.recipe_tables import Watch
from lehr.contracts.reference import ModelReference
from lehr.drift import MIN_REQUESTS, PREDICTIONS, add_up, compare, is_enough, nearest_reference
from lehr.references import reference_of
from lehr_runtime.sketches import merge_sketches, sketch
from lehr_runtime.tables import Table

TRAINING_ROWS = 4000
CARRIERS = np.array(["A", "B", "C", "D", ""])
SHARES = [0.5, 0.25, 0.15, 0.05, 0.05]
LABELS = {"cheap": 700, "dear": 300}
Draw = Callable[[np.random.Generator, int], Table]


def usual(rng: np.random.Generator, rows: int) -> Table:
    """A bell, a skewed column, one of few values, one with gaps; and a category."""
    gaps = rng.normal(100, 5, rows)
    gaps[rng.random(rows) < 0.1] = np.nan
    columns = [rng.normal(size=rows), rng.lognormal(size=rows), rng.integers(0, 4, rows), gaps]
    categories = rng.choice(CARRIERS, rows, p=SHARES).astype(object)[:, np.newaxis]
    return Table(np.column_stack(columns).astype(np.float32), categories)


def reference_for(table: Table, units: int = 3) -> ModelReference:
    """As preparation gives it for a table in so many units."""
    parts = np.array_split(table.numbers, units)
    values, counts = np.unique(table.categories[:, 0].astype(str), return_counts=True)
    given = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
    missing = given.pop("", 0)
    return reference_of(
        DatasetStatistics(
            project="fares",
            format="csv",
            input_shape=[5],
            labels=list(LABELS),
            rows={"train": len(table)},
            class_counts={},
            numbers=[
                merge_sketches([sketch(f"x{place}", part[:, place].astype(np.float64)) for part in parts])
                for place in range(table.numbers.shape[1])
            ],
            categories=[
                CategoryStatistics(
                    name="carrier",
                    rows=sum(given.values()),
                    missing=missing,
                    distinct=len(given),
                    top=[ValueCount(value=value, rows=rows) for value, rows in given.items()],
                )
            ],
            determined={},
        )
    )


def captured(
    reference: ModelReference, table: Table, labels: list[str], requests: int = 50
) -> list[PredictionCapture]:
    """What the endpoint writes of a table that comes in so many requests."""
    lines = []
    for number, rows in enumerate(np.array_split(np.arange(len(table)), requests)):
        part = table[rows]
        numbers, categories = count_columns(reference, part)
        lines.append(
            PredictionCapture(
                project="fares",
                model_version="v1",
                time="2026-01-01T00:00:00.000Z",
                request_id=f"r{number}",
                rows=len(part),
                inputs=summarise(part.numbers),
                predictions=[CapturedPrediction(label=labels[row], probability=0.9) for row in rows],
                number_counts=numbers,
                category_counts=categories,
            )
        )
    return lines


def look(
    draw: Draw, seed: int, *, rows: int = 1000, dear: float = 0.3, watch: Watch | None = None
) -> list[ColumnDrift]:
    """One window of traffic beside training data of its own."""
    rng = np.random.default_rng(seed)
    reference = reference_for(usual(rng, TRAINING_ROWS))
    labels = rng.choice(["cheap", "dear"], rows, p=[1 - dear, dear]).tolist()
    seen = add_up(captured(reference, draw(rng, rows), labels), reference)
    return compare(seen, reference, LABELS, watch or Watch())[0]


def drifted(columns: list[ColumnDrift]) -> set[tuple[str, str]]:
    return {(one.name, one.kind) for one in columns if one.has_drifted}


def test_two_hundred_windows_of_the_same_traffic_raise_no_alarm() -> None:
    alarms = [seed for seed in range(200) if drifted(look(usual, seed, rows=500))]
    assert len(alarms) / 200 <= 0.01, alarms


def test_without_the_size_of_a_drift_the_rate_still_holds() -> None:
    """The test alone, without thresholds of size: it is what the rate is promised of."""
    watch = Watch(max_psi=1e-9, max_distance=1e-9, false_alarm_rate=0.1)
    alarms = [seed for seed in range(200) if drifted(look(usual, seed, rows=500, watch=watch))]
    # 20 are expected at most; three standard deviations of a binomial above that are 33.
    assert len(alarms) <= 33
    # A control: a test that never rings would pass, too.
    loud = Watch(max_psi=1e-9, max_distance=1e-9, false_alarm_rate=0.5)
    assert any(drifted(look(usual, seed, rows=500, watch=loud)) for seed in range(100))


def moved(place: int, by: float, scale: float = 1.0) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> Table:
        table = usual(rng, rows)
        numbers = table.numbers.copy()
        numbers[:, place] = numbers[:, place] * scale + by
        return Table(numbers, table.categories)

    return draw


def with_gaps(rng: np.random.Generator, rows: int) -> Table:
    table = usual(rng, rows)
    numbers = table.numbers.copy()
    numbers[rng.random(rows) < 0.3, 0] = np.nan
    return Table(numbers, table.categories)


def other_carriers(rng: np.random.Generator, rows: int) -> Table:
    shares = [0.35, 0.25, 0.15, 0.05, 0.05, 0.15]
    cells = rng.choice(np.array([*CARRIERS, "new"]), rows, p=shares).astype(object)
    return Table(usual(rng, rows).numbers, cells[:, np.newaxis])


@pytest.mark.parametrize(
    ("draw", "found"),
    [
        (moved(0, 0.5), ("x0", "number")),  # half a standard deviation
        (moved(0, 0.0, 2.0), ("x0", "number")),  # twice as wide
        (moved(1, 0.0, 1.8), ("x1", "number")),
        (moved(3, 3.0), ("x3", "number")),
        (with_gaps, ("x0", "missing")),  # 30 % missing where nothing was
        (other_carriers, ("carrier", "category")),  # 15 points to a value that nobody has seen
    ],
)
def test_a_planted_drift_is_found_and_no_other(draw: Draw, found: tuple[str, str]) -> None:
    results = [drifted(look(draw, seed)) for seed in range(20)]
    assert all(found in result for result in results)
    assert set().union(*results) == {found}


def test_other_shares_of_the_predicted_labels_are_a_drift() -> None:
    results = [drifted(look(usual, seed, dear=0.45)) for seed in range(20)]
    assert all(result == {(PREDICTIONS, "predictions")} for result in results)
    assert not any(drifted(look(usual, seed, dear=0.33)) for seed in range(20))


def test_thin_traffic_says_nothing() -> None:
    rng = np.random.default_rng(1)
    reference = reference_for(usual(rng, TRAINING_ROWS))

    def seen_of(rows: int, requests: int) -> bool:
        lines = captured(reference, moved(0, 9.0)(rng, rows), ["dear"] * rows, requests)
        return is_enough(add_up(lines, reference), Watch())

    assert not seen_of(499, 50)
    assert not seen_of(2000, MIN_REQUESTS - 1)  # many rows of few callers
    assert seen_of(500, MIN_REQUESTS)


def test_a_column_with_few_values_is_not_compared() -> None:
    def mostly_empty(rng: np.random.Generator, rows: int) -> Table:
        table = usual(rng, rows)
        numbers = table.numbers.copy()
        numbers[rng.random(rows) < 0.9, 0] = np.nan
        return Table(numbers + 50, table.categories)

    columns = look(mostly_empty, 1)
    assert ("x0", "number") not in {(one.name, one.kind) for one in columns}
    assert ("x0", "missing") in drifted(columns)


def test_lines_that_were_counted_in_other_bins_are_left_out() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (reference_for(usual(rng, TRAINING_ROWS)) for _ in range(2))
    fewer = ModelReference(numbers=theirs.numbers[:2], categories=theirs.categories)
    lines = captured(fewer, usual(rng, 600), ["dear"] * 600)
    seen = add_up(lines, ours)
    assert (seen.rows, seen.requests) == (600, 50)
    assert not any(map(any, seen.numbers))


SAMPLES = st.sampled_from(["normal", "tied", "steps", "skewed"])


@given(
    SAMPLES,
    st.integers(min_value=1, max_value=6),
    st.integers(min_value=400, max_value=3000),
    st.integers(0, 99),
)
def test_what_lies_below_an_edge_is_within_the_bounds_of_the_reference(
    kind: str, units: int, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    column = rng.normal(size=rows)
    if kind == "tied":
        column[rng.random(rows) < 0.6] = 0.0
    elif kind == "steps":
        column = rng.integers(0, 7, rows).astype(float)
    elif kind == "skewed":
        column = np.exp(2 * column)
    one = reference_for(Table(column[:, np.newaxis], np.full((rows, 1), "A", dtype=object)), units).numbers[0]
    for edge, low, high in zip(one.edges, one.low, one.high, strict=True):
        assert low - 1e-9 <= float((column < edge).mean()) <= high + 1e-9


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 1.0])
def test_the_distance_is_scipys_or_milder_by_the_stated_bound(shift: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        training, live = rng.normal(size=5000), rng.normal(shift, size=2000)
        table = Table(training[:, np.newaxis], np.full((5000, 1), "A", dtype=object))
        one = reference_for(table).numbers[0]
        counts = np.bincount(
            np.searchsorted(one.edges, live, side="right"), minlength=len(one.edges) + 1
        ).tolist()
        expected = np.cumsum(nearest_reference(one, counts))
        ours = float(np.abs(expected - np.cumsum(counts) / len(live)).max())
        exact = float(stats.ks_2samp(training, live).statistic)
        # Between two edges lies a sixteenth of the training rows.
        assert exact - 4 / 64 - 1 / 16 <= ours <= exact + 1e-9
