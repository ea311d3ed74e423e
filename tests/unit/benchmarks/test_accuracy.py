"""The arithmetic of the accuracy benchmark."""

from __future__ import annotations

import pytest

from benchmarks.accuracy import difference, summary


def test_the_mean_of_seeds_has_an_error() -> None:
    found = summary([0.97, 0.98, 0.99])
    assert found["mean"] == pytest.approx(0.98)
    assert found["deviation"] == pytest.approx(0.01)
    assert found["standard_error"] == pytest.approx(0.01 / 3**0.5)


def test_errors_of_two_means_add_up_by_their_squares() -> None:
    one, other = summary([0.97, 0.98, 0.99]), summary([0.96, 0.96, 0.96])
    apart, error = difference(one, other)
    assert apart == pytest.approx(0.02)
    assert error == pytest.approx(0.01 / 3**0.5)


def test_one_seed_has_no_error() -> None:
    apart, error = difference(summary([0.98]), summary([0.97, 0.98]))
    assert apart == pytest.approx(0.005)
    assert error is None
