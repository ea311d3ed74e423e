"""Distances and their chances, each beside scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lehr.distributions import (
    chi_squared,
    chi_squared_survival,
    kolmogorov_survival,
    population_stability,
    total_variation,
)

COUNTS = st.lists(st.integers(min_value=20, max_value=5000), min_size=2, max_size=12)


@given(st.floats(min_value=0.0, max_value=400.0), st.integers(min_value=1, max_value=200))
def test_the_chance_of_a_chi_squared_is_scipys(statistic: float, freedom: int) -> None:
    expected = float(stats.chi2.sf(statistic, freedom))
    assert chi_squared_survival(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@given(
    st.floats(min_value=0.0, max_value=1.0),
    st.integers(min_value=1, max_value=100_000),
    st.integers(min_value=1, max_value=100_000),
)
def test_the_chance_of_a_kolmogorov_distance_is_scipys(distance: float, rows: int, other: int) -> None:
    expected = float(stats.kstwobign.sf(distance * math.sqrt(rows * other / (rows + other))))
    assert kolmogorov_survival(distance, rows, other) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
def test_the_chance_of_two_samples_is_that_of_scipys_test(shift: float) -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=4000), rng.normal(shift, size=3000)
    found = stats.ks_2samp(one, other, method="asymp")
    # scipy takes the distribution for the effective size, and not its limit, which is a little milder.
    ours, theirs = kolmogorov_survival(float(found.statistic), 4000, 3000), float(found.pvalue)
    assert theirs <= ours * (1 + 1e-6)
    assert math.log(ours) == pytest.approx(math.log(theirs), rel=0.03, abs=0.06)


@given(COUNTS)
def test_pearsons_statistic_is_that_of_scipys_contingency_table(counts: list[int]) -> None:
    rng = np.random.default_rng(len(counts))
    other = rng.integers(20, 5000, len(counts)).tolist()
    expected = stats.chi2_contingency(np.array([counts, other]), correction=False)
    smallest = float(np.min(expected.expected_freq))
    statistic, freedom = chi_squared(counts, other)
    if smallest >= 5:
        assert statistic == pytest.approx(float(expected.statistic), rel=1e-9)
        assert freedom == expected.dof
        assert chi_squared_survival(statistic, freedom) == pytest.approx(
            float(expected.pvalue), rel=1e-6, abs=1e-14
        )
    else:
        assert freedom <= expected.dof


def test_what_is_rare_is_counted_together() -> None:
    common = [500, 400, 60]
    assert chi_squared([*common, 1, 0, 2], [*common, 0, 2, 1])[1] == len(common)
    assert chi_squared([], []) == (0.0, 0)
    assert chi_squared([5], [0]) == (0.0, 0)


def test_the_stability_index_is_jeffreys_divergence() -> None:
    one, other = [300, 500, 200], [250, 450, 300]
    p, q = (np.array(counts) / sum(counts) for counts in (one, other))
    jeffreys = float(stats.entropy(p, q) + stats.entropy(q, p))
    # The pseudo-counts move it a little.
    assert population_stability(one, other) == pytest.approx(jeffreys, rel=0.01)
    assert population_stability(one, one) == 0.0
    assert math.isfinite(population_stability([10, 0], [0, 10]))


def test_the_variation_distance_is_half_of_the_differences() -> None:
    assert total_variation([1, 1], [1, 3]) == pytest.approx(0.25)
    assert total_variation([5, 0], [0, 7]) == 1.0
    assert total_variation([0, 0], [0, 0]) == 0.0
