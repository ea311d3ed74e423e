"""Whether a training is worth its money: the numbers by hand, and what is not known speaks for it."""

from __future__ import annotations

from typing import Any

import pytest

from lehr.contracts.drift import DriftReport, DriftThresholds
from lehr.contracts.feedback import LiveAccuracy
from lehr.contracts.recipe_tables import Retrain, Watch
from lehr.contracts.registry import RunRecord
from lehr.contracts.retraining import RetrainPlan
from lehr.retraining import ASSUMED_EXPONENT, learning_exponent, plan_retraining

AT = "2026-01-31T00:00:00.000Z"
PRICED = Retrain(max_usd_per_point=1.0)


def run(number: int, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "accuracy": 0.9,
        "raw_bytes": 1000,
        "actual_usd": 0.5,
        "model_version": f"v{number}",
    } | more
    return RunRecord(
        project="fares",
        run=f"r{number}",
        status="promoted",
        started_at=f"2026-01-{number:02}T00:00:00.000Z",
        execution_arn="a",
        code_sha="c",
        fingerprint="f",
        **fields,
    )


def live(rows: int, high: float, version: str = "v1") -> DriftReport:
    return DriftReport(
        project="fares",
        model_version=version,
        at=AT,
        since=AT,
        status="stable",
        reason="",
        requests=0,
        rows=0,
        is_sampled=False,
        thresholds=DriftThresholds(min_rows=1, max_psi=1, max_distance=1, max_p_value=1),
        columns=[],
        live=[
            LiveAccuracy(
                model_version=version, rows=rows, right=0, accuracy=0.0, low=0.0, high=high, is_low=False
            )
        ],
    )


def weigh(
    *records: RunRecord,
    raw_bytes: int = 1000,
    retrain: Retrain = PRICED,
    report: DriftReport | None = None,
    champion: str = "v1",
) -> RetrainPlan:
    return plan_retraining(
        "fares",
        retrain,
        Watch(),
        records=records,
        champion=champion,
        raw_bytes=raw_bytes,
        report=report,
        at=AT,
    )


def test_twice_the_data_is_worth_what_the_curve_promises_of_it() -> None:
    plan = weigh(run(1), raw_bytes=2000)
    points = 100 * 0.1 * (1 - 2**-ASSUMED_EXPONENT)  # 0.67 points of the ten that are missing
    assert plan.growth_points == pytest.approx(points, abs=1e-4)
    assert plan.usd == pytest.approx(1.0)  # twice as much to train on
    assert plan.usd_per_point == pytest.approx(1.0 / points, abs=1e-4)
    assert (plan.is_worth, plan.live_points) == (False, 0.0)
    assert "1.49 USD a point, over max_usd_per_point = 1" in plan.reason
    assert weigh(run(1), raw_bytes=2000, retrain=Retrain(max_usd_per_point=1.5)).is_worth


@pytest.mark.parametrize("raw_bytes", [500, 1000])
def test_no_more_data_and_no_labels_are_nothing_for_the_money(raw_bytes: int) -> None:
    plan = weigh(run(1), raw_bytes=raw_bytes)
    assert (plan.is_worth, plan.usd_per_point, plan.usd) == (False, None, 0.5)
    assert "nothing for the money" in plan.reason


def test_what_live_labels_show_lost_may_be_won_again() -> None:
    plan = weigh(run(1), report=live(rows=200, high=0.85))
    assert plan.live_points == pytest.approx(5.0)
    assert plan.usd_per_point == pytest.approx(0.1)
    assert plan.is_worth
    assert weigh(run(1), report=live(rows=99, high=0.5)).live_points == 0.0
    assert weigh(run(1), report=live(rows=200, high=0.95)).live_points == 0.0
    assert weigh(run(1), report=live(rows=200, high=0.5, version="v9")).live_points == 0.0


def test_the_exponent_is_that_of_past_runs_once_they_had_three_amounts_of_data() -> None:
    curve = [run(n, raw_bytes=1000 * 4**n, accuracy=1 - 0.4 * (4**n) ** -0.3) for n in range(1, 5)]
    exponent, fitted = learning_exponent(curve)
    assert exponent == pytest.approx(0.3)
    assert fitted == 4
    assert learning_exponent(curve[:2]) == (ASSUMED_EXPONENT, 0)
    assert learning_exponent([curve[0]] * 9) == (ASSUMED_EXPONENT, 0)
    worse = [run(n, raw_bytes=1000 * n, accuracy=0.9 - 0.1 * n) for n in range(1, 4)]
    assert learning_exponent(worse)[0] == 0.0  # more data has never helped
    assert not weigh(*worse, raw_bytes=10**6).is_worth
    steep = [run(n, raw_bytes=2**n, accuracy=1 - 0.5 * 2.0 ** (-2 * n)) for n in range(1, 5)]
    assert learning_exponent(steep)[0] == 0.5


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (run(1, raw_bytes=0), "amount of data"),
        (run(1, accuracy=None, rmse=3.0), "quality in points"),
        (run(1, actual_usd=None), "cost"),
        (run(1, model_version="v0"), "nothing is known"),
    ],
)
def test_what_is_not_known_speaks_for_training(record: RunRecord, told: str) -> None:
    plan = weigh(record)
    assert plan.is_worth
    assert told in plan.reason


def test_without_a_price_and_for_an_old_champion_all_is_worth_it() -> None:
    assert weigh(run(1), retrain=Retrain()).is_worth
    old = Retrain(max_usd_per_point=1.0, max_age_d=30)
    assert weigh(run(1), retrain=old).is_worth
    assert not weigh(run(2), retrain=old, champion="v2").is_worth


def test_the_worst_case_stands_for_a_cost_that_is_not_known() -> None:
    assert weigh(run(1, actual_usd=None, estimated_usd=7.0), raw_bytes=2000).usd == pytest.approx(14.0)
    assert weigh(run(1, accuracy=None, mean_iou=0.5), raw_bytes=2000).growth_points == pytest.approx(
        50 * (1 - 2**-ASSUMED_EXPONENT), abs=1e-4
    )
