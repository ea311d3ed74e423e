"""Sketches against numpy and scikit-learn over all rows at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from lehr.contracts.profile import QUANTILES
from lehr.dataset_difference import distribution_distance
from lehr_runtime.sketches import (
    MAX_DETERMINED_ROWS,
    determined_by_number,
    determined_by_text,
    measured_rows,
    merge_sketches,
    sketch,
)

COLUMNS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, rows: random.normal(1e6, 2, rows),
    "heavy": lambda random, rows: random.standard_t(1.5, rows),
    "years": lambda random, rows: random.integers(2015, 2021, rows).astype(float),
    "mostly zero": lambda random, rows: np.where(random.random(rows) < 0.9, 0, random.exponential(5, rows)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_merged_moments_are_exact_and_ranks_within_two_steps_of_the_quantiles(name: str) -> None:
    random = np.random.default_rng(4)
    parts = [
        COLUMNS[name](random, rows) + shift for rows, shift in ((5000, 0), (900, 1), (1, 0), (12_000, 0))
    ]
    column = np.concatenate(parts)
    merged = merge_sketches([sketch("x", part) for part in parts])
    assert (merged.rows, merged.min, merged.max) == (len(column), column.min(), column.max())
    assert merged.mean == pytest.approx(column.mean())
    assert merged.std == pytest.approx(column.std(), rel=1e-4)
    ordered = np.sort(column)
    for place, value in enumerate(merged.quantiles):
        wanted = place / (QUANTILES - 1)
        below, up_to = (
            np.searchsorted(ordered, value, side=side) / len(column) for side in ("left", "right")
        )
        assert below - 2 / (QUANTILES - 1) <= wanted <= up_to + 2 / (QUANTILES - 1)
    assert sum(merged.histogram) == len(column)


def test_a_histogram_is_near_that_of_numpy() -> None:
    column = np.random.default_rng(1).normal(0, 1, 30_000)
    merged = merge_sketches([sketch("x", part) for part in np.array_split(column, 3)])
    expected = np.histogram(column, bins=len(merged.histogram))[0]
    assert np.abs(np.cumsum(merged.histogram) - np.cumsum(expected)).max() < 0.03 * len(column)


def test_rows_without_the_number_are_counted_and_a_column_of_none_has_no_quantiles() -> None:
    merged = merge_sketches([sketch("x", np.array([np.nan, np.nan])), sketch("x", np.full(3, np.nan))])
    assert (merged.rows, merged.missing, merged.quantiles) == (0, 5, [])


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """Over all rows: the most that the two shares of rows up to a value differ by."""
    values = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_the_distance_of_two_columns_is_that_of_kolmogorov_and_smirnov() -> None:
    random = np.random.default_rng(2)
    one = random.normal(0, 1, 4000)
    for other in (random.normal(0.4, 1, 3000), random.normal(0, 3, 3000), one):
        sketches = (merge_sketches([sketch("x", column)]).quantiles for column in (one, other))
        assert distribution_distance(*sketches) == pytest.approx(kolmogorov_smirnov(one, other), abs=2 / 64)


def test_what_a_text_tells_of_a_label_is_the_share_of_mistakes_that_it_avoids() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 2000)
    texts = (
        np.where(random.random(2000) < 0.8, labels, random.integers(0, 3, 2000)).astype(str).astype(object)
    )
    commonest = {text: np.bincount(labels[texts == text]).argmax() for text in set(texts)}
    informed = 1 - accuracy_score(labels, [commonest[text] for text in texts])
    blind = 1 - np.bincount(labels).max() / len(labels)
    assert determined_by_text(texts, labels, is_label=True) == pytest.approx(1 - informed / blind)


def test_a_column_of_a_name_for_each_row_tells_nothing() -> None:
    labels = np.random.default_rng(5).integers(0, 2, 1000)
    assert determined_by_text(np.arange(1000).astype(str).astype(object), labels, is_label=True) == 0
    assert determined_by_number(np.arange(1000.0), labels, is_label=True) < 0.3


@pytest.mark.parametrize("rows", [100, 10_000])
def test_a_number_that_cuts_the_labels_apart_tells_all_of_them(rows: int) -> None:
    column = np.random.default_rng(6).normal(size=rows)
    assert determined_by_number(column, (column > 0.3).astype(np.uint8), is_label=True) == 1


def test_of_a_number_to_predict_a_line_and_a_curve_are_found_and_noise_is_not() -> None:
    random = np.random.default_rng(7)
    column = random.normal(size=8000)
    assert determined_by_number(column, 3 * column - 1, is_label=False) == pytest.approx(1)
    assert determined_by_number(column, column**2, is_label=False) > 0.97
    assert determined_by_number(column, random.normal(size=8000), is_label=False) < 0.1
    missing = np.where(random.random(8000) < 0.5, np.nan, column)
    assert determined_by_number(missing, column, is_label=False) < 0.6


def test_of_many_rows_some_that_are_evenly_spread_tell_about_as_much_as_all() -> None:
    random = np.random.default_rng(4)
    rows = 4 * MAX_DETERMINED_ROWS + 17
    column = np.sort(random.normal(size=rows))
    target = (column + random.normal(size=rows) / 2 > 0.4).astype(np.uint8)
    some = measured_rows(rows)
    assert isinstance(some, np.ndarray)
    assert len(np.unique(some)) == MAX_DETERMINED_ROWS
    assert (some[0], some[-1]) == (0, rows - 1)
    every = determined_by_number(column, target, is_label=True)
    of_some = determined_by_number(column[some], target[some], is_label=True)
    assert of_some == pytest.approx(every, abs=0.01)
    assert measured_rows(MAX_DETERMINED_ROWS) == slice(None)
