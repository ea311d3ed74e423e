"""The gate: a model earns its place, and NaN never does."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.contracts.evaluation import ClassificationMetrics, EvaluationReport
from lehr.contracts.gate_tables import Gate
from lehr.gate import decide
from tests.comparisons import CONVINCING


def metrics(accuracy: float, **changes: Any) -> ClassificationMetrics:
    values: dict[str, Any] = {
        "rows": 1000,
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "log_loss": 0.1,
        "expected_calibration_error": 0.01,
        "majority_share": 0.2,
        "rows_per_second": 1e4,
        "confusion": [[500, 0], [0, 500]],
        "classes": [],
    }
    return ClassificationMetrics(**(values | changes))


def report(
    candidate: ClassificationMetrics, champion: ClassificationMetrics | None = None, **changes: Any
) -> EvaluationReport:
    told: dict[str, Any] = {"comparison": CONVINCING if champion else None} | changes
    return EvaluationReport(
        project="p",
        run="r",
        dataset_version="d",
        candidate_version="new",
        champion_version="old" if champion else None,
        candidate=candidate,
        champion=champion,
        **told,
    )


def test_the_first_model_must_beat_the_majority_class() -> None:
    assert decide(report(metrics(0.21)), Gate()).verdict == "promote"
    assert decide(report(metrics(0.20)), Gate()).verdict == "reject"


def test_a_candidate_below_the_minimum_is_rejected_with_the_numbers() -> None:
    decision = decide(report(metrics(0.9)), Gate(min_accuracy=0.975))
    assert decision.verdict == "reject"
    assert "0.9000" in decision.reason
    assert "0.9750" in decision.reason


def test_a_tie_keeps_the_champion() -> None:
    assert decide(report(metrics(0.95), metrics(0.95)), Gate()).verdict == "reject"


def test_a_better_candidate_is_promoted() -> None:
    decision = decide(report(metrics(0.96), metrics(0.95)), Gate())
    assert decision.verdict == "promote"
    assert "champion 0.9500" in decision.reason


def test_a_gain_below_the_asked_one_is_not_enough() -> None:
    assert decide(report(metrics(0.951), metrics(0.95)), Gate(min_gain=0.01)).verdict == "reject"
    assert decide(report(metrics(0.97), metrics(0.95)), Gate(min_gain=0.01)).verdict == "promote"


def test_too_few_test_rows_decide_nothing() -> None:
    assert decide(report(metrics(0.99, rows=99)), Gate(min_test_rows=100)).verdict == "reject"


@pytest.mark.parametrize("field", ["accuracy", "log_loss", "macro_f1"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_never_passes(field: str, value: float) -> None:
    candidate = msgspec.structs.replace(metrics(0.99), **{field: value})
    assert decide(report(candidate), Gate()).verdict == "reject"


@given(candidate=st.floats(0, 1), champion=st.floats(0, 1))
def test_nothing_worse_than_the_champion_is_ever_promoted(candidate: float, champion: float) -> None:
    decision = decide(report(metrics(candidate), metrics(champion)), Gate(min_test_rows=1))
    assert (decision.verdict == "promote") == (candidate > champion)


def test_every_rule_is_reported_also_after_one_has_failed() -> None:
    decision = decide(report(metrics(0.1, rows=1), metrics(0.9)), Gate(min_accuracy=0.5))
    assert [rule.passed for rule in decision.rules] == [True, False, False, False, True]
