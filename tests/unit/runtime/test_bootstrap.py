"""The paired bootstrap: parts add up, the same rows give the same figures, and chance promotes as often as said."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from lehr.contracts.comparison import REPLICATES
from lehr_runtime import bootstrap as module
from lehr_runtime.bootstrap import compare, merge_bootstraps, resample, row_ids


def squares(random: np.random.Generator, rows: int, scale: float) -> np.ndarray:
    return np.square(random.normal(0, scale, rows))


def test_resamples_take_rows_as_often_as_poisson_does() -> None:
    sums = resample(row_ids("ab" * 32, 500), np.ones(500), np.zeros(500))
    weights = np.frombuffer(sums.weights, dtype="<u8")
    # The sum of 500 draws of Poisson(1): mean and variance are 500.
    assert weights.mean() == pytest.approx(500, abs=5 * math.sqrt(500 / REPLICATES))
    assert weights.var() == pytest.approx(500, rel=0.25)
    np.testing.assert_array_equal(np.frombuffer(sums.candidate, dtype="<f8"), weights)
    assert not np.frombuffer(sums.champion, dtype="<f8").any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 90), st.lists(st.integers(0, 90), max_size=4))
def test_shards_add_up_to_all_rows_at_once(seed: int, rows: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    ids, one, other = row_ids(f"{seed:064x}", rows), squares(random, rows, 1.0), squares(random, rows, 1.1)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [resample(ids[a:b], one[a:b], other[a:b]) for a, b in itertools.pairwise(edges)]
    whole, merged = resample(ids, one, other), merge_bootstraps(parts)
    assert (merged.rows, merged.weights) == (whole.rows, whole.weights)
    for name in ("candidate", "champion"):
        np.testing.assert_allclose(
            np.frombuffer(getattr(merged, name)), np.frombuffer(getattr(whole, name)), rtol=1e-9, atol=1e-12
        )
    found, expected = (
        compare(merged, "RMSE", np.sqrt, is_error=True),
        compare(whole, "RMSE", np.sqrt, is_error=True),
    )
    assert (found.p_gain, found.p_loss) == (expected.p_gain, expected.p_loss)
    assert found.gain == pytest.approx(math.sqrt(other.mean()) - math.sqrt(one.mean()))


def test_merging_is_associative() -> None:
    random = np.random.default_rng(2)
    a, b, c = (
        resample(row_ids(digit * 64, 40), squares(random, 40, 1.0), squares(random, 40, 1.0))
        for digit in "abc"
    )
    left, right = (
        merge_bootstraps([merge_bootstraps([a, b]), c]),
        merge_bootstraps([a, merge_bootstraps([b, c])]),
    )
    assert left.weights == right.weights
    np.testing.assert_allclose(np.frombuffer(left.candidate), np.frombuffer(right.candidate))


def test_the_same_rows_give_the_same_bytes_and_other_shards_other_ones() -> None:
    values = squares(np.random.default_rng(3), 50, 1.0)
    first, again, other = (resample(row_ids(key * 64, 50), values, values) for key in "aab")
    assert first == again
    assert first.weights != other.weights


def test_the_bound_is_about_that_of_an_ordinary_bootstrap() -> None:
    random = np.random.default_rng(4)
    one, other = squares(random, 400, 1.0), squares(random, 400, 1.15)
    found = compare(resample(row_ids("c" * 64, 400), one, other), "RMSE", np.sqrt, is_error=True)

    def gain(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        difference: np.ndarray = np.sqrt(b.mean(axis=axis)) - np.sqrt(a.mean(axis=axis))
        return difference

    peer = bootstrap(
        (one, other),
        gain,
        paired=True,
        vectorized=True,
        n_resamples=4000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    width = peer.confidence_interval.high - peer.confidence_interval.low
    assert found.gain_at_least == pytest.approx(peer.confidence_interval.low, abs=0.1 * width)


def test_a_tie_is_no_gain_and_no_loss() -> None:
    values = squares(np.random.default_rng(6), 60, 1.0)
    found = compare(resample(row_ids("d" * 64, 60), values, values), "RMSE", np.sqrt, is_error=True)
    assert (found.gain, found.p_gain, found.p_loss) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_no_gain_and_does_not_speak_against_a_loss(bad: float) -> None:
    one, other = np.ones(200), np.full(200, 5.0)
    one[3] = bad
    with np.errstate(invalid="ignore"):
        found = compare(resample(row_ids("e" * 64, 200), one, other), "RMSE", np.sqrt, is_error=True)
    assert (found.p_gain, found.p_loss) == (1.0, 1 / (1 + REPLICATES))


def test_rows_of_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows with values"):
        resample(row_ids("f" * 64, 2), np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="no parts"):
        merge_bootstraps([])


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(50.0)
    whole = resample(row_ids("a" * 64, 50), values, values)
    monkeypatch.setattr(module, "_AT_ONCE", 7 * REPLICATES)
    assert msgspec.to_builtins(resample(row_ids("a" * 64, 50), values, values)) == msgspec.to_builtins(whole)


def promoted(scale: float, pairs: int, level: float = 0.05) -> float:
    """How many candidates with errors of that scale, the champion's being 1, gain significantly on 400 rows."""
    found = 0
    for pair in range(pairs):
        random = np.random.default_rng(pair)
        shared = random.normal(size=400)  # both err on hard rows
        one = np.square(scale * (0.8 * shared + 0.6 * random.normal(size=400)))
        other = np.square(0.8 * shared + 0.6 * random.normal(size=400))
        ids = row_ids(f"{pair + 1:064d}", 400)
        found += compare(resample(ids, one, other), "RMSE", np.sqrt, is_error=True).p_gain <= level
    return found / pairs


def test_regressions_that_are_no_better_are_seldom_taken_for_better_ones() -> None:
    assert promoted(1.0, 60) <= 0.15  # 5 % expected; above 15 % in one of a thousand
    assert promoted(1.1, 20) == 0.0
    assert promoted(0.8, 20) >= 0.9


@pytest.mark.slow
def test_of_equal_regressions_about_as_many_as_the_level_says_are_taken_for_better_ones() -> None:
    assert 0.02 <= promoted(1.0, 1000) <= 0.08
