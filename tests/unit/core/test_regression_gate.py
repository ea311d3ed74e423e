"""The gate of a regression: errors instead of accuracies, the same verdicts."""

from __future__ import annotations

import math

import pytest

from lehr.contracts.gate_tables import Gate
from lehr.contracts.regression import RegressionMetrics, RegressionReport
from lehr.regression_gate import decide_regression
from tests.comparisons import CONVINCING


def report(
    rmse: float, champion: float | None = None, *, rows: int = 500, std: float = 10.0
) -> RegressionReport:
    def metrics(error: float) -> RegressionMetrics:
        return RegressionMetrics(
            rows=rows, rmse=error, mae=error, r2=0.0, target_std=std, rows_per_second=1.0
        )

    return RegressionReport(
        project="p",
        run="r",
        dataset_version="d",
        candidate_version="c",
        champion_version=None if champion is None else "old",
        target="price",
        candidate=metrics(rmse),
        champion=None if champion is None else metrics(champion),
        comparison=None if champion is None else CONVINCING,
    )


@pytest.mark.parametrize(
    ("seen", "policy", "verdict", "words"),
    [
        (report(5.0), Gate(), "promote", "RMSE 5, no champion yet"),
        (report(10.0), Gate(), "reject", "better than the mean of the target: 10, required RMSE < 10"),
        (report(5.0), Gate(max_rmse=4.9), "reject", "RMSE: 5, required <= 4.9"),
        (report(5.0), Gate(max_rmse=5.0), "promote", "RMSE 5"),
        (report(5.0, rows=99), Gate(), "reject", "test rows: 99, required >= 100"),
        (report(5.0, 5.0), Gate(), "reject", "better than champion old: 5 (+0)"),
        (report(4.5, 5.0), Gate(min_gain=0.5), "promote", "champion 5"),
        (report(4.6, 5.0), Gate(min_gain=0.5), "reject", "by at least 0.5"),
        (report(6.0, 5.0), Gate(), "reject", "6 (+1)"),
        (report(math.nan, 5.0), Gate(), "reject", "finite metrics"),
    ],
)
def test_a_candidate_is_judged_by_its_error(
    seen: RegressionReport, policy: Gate, verdict: str, words: str
) -> None:
    decision = decide_regression(seen, policy)
    assert decision.verdict == verdict
    assert words in decision.reason
