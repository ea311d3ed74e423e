"""Live accuracy: each prediction once, per version, and low only where it is no chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lehr.contracts.feedback import FeedbackLine, LabelledPrediction
from lehr.contracts.recipe_tables import Watch
from lehr.live_accuracy import live_accuracy, wilson_interval


def line(time: str, *labels: tuple[str, int, str, str], version: str = "v1") -> FeedbackLine:
    return FeedbackLine(
        project="fares",
        time=time,
        labels=[
            LabelledPrediction(request_id=request, row=row, model_version=version, predicted=said, label=true)
            for request, row, said, true in labels
        ],
    )


@given(st.integers(min_value=0, max_value=500), st.integers(min_value=1, max_value=500))
def test_the_interval_is_scipys(right: int, rows: int) -> None:
    right = min(right, rows)
    expected = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_prediction_counts_once_by_its_latest_label_and_for_its_own_version() -> None:
    lines = [
        line("2026-01-02", ("r1", 0, "a", "b"), ("r1", 1, "a", "a")),
        line("2026-01-01", ("r1", 0, "a", "a"), ("r2", 0, "a", "a")),
        line("2026-01-02", ("r1", 1, "a", "a")),
        line("2026-01-02", ("r3", 0, "a", "b"), version="v0"),
    ]
    found = {one.model_version: (one.right, one.rows) for one in live_accuracy(lines, Watch())}
    assert found == {"v1": (2, 3), "v0": (0, 1)}


@pytest.mark.parametrize(("right", "rows", "is_low"), [(70, 99, False), (70, 100, True), (85, 100, False)])
def test_low_is_only_what_enough_labels_say_beyond_chance(right: int, rows: int, is_low: bool) -> None:
    labels = [(str(row), 0, "a", "a" if row < right else "b") for row in range(rows)]
    (found,) = live_accuracy([line("2026-01-01", *labels)], Watch(min_live_accuracy=0.9))
    assert found.is_low is is_low
    assert not live_accuracy([line("2026-01-01", *labels)], Watch())[0].is_low


def test_without_labels_there_is_nothing_to_say() -> None:
    assert live_accuracy([], Watch()) == []
