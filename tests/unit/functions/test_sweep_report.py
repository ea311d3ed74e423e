"""The trials in the report of a run: which were better, which were given up, which failed, and what each cost."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from functions.write_report.report import render
from functions.write_report.sources import Sources
from functions.write_report.sweep import SEARCHES, TOP, sweep_section
from lehr.contracts.cost import RunCost, TrialCost
from lehr.contracts.recipe_tables import Trials
from lehr.contracts.sweep import Objective, Sweep, TrialRecord
from lehr.contracts.workflow import ReportRequest, TrialResult


def record(number: int, objective: float | None, rung: int = 0, epochs: int = 1, **point: Any) -> TrialRecord:
    start = 0.5 if objective is None else objective
    status: Any = "Failed" if objective is None else "Completed"
    return TrialRecord(
        id=str(number),
        name=f"{number}{'abc'[rung]}" if rung else str(number),
        round=rung,
        rung=rung,
        point=point,
        hyperparameters={"epochs": "4"},
        status="failed" if objective is None else "completed",
        objective=objective,
        curve=tuple(start + 0.1 / (epoch + 1) for epoch in range(epochs)) if objective is not None else (),
        reason="" if objective is not None else "the <loss> is no longer finite",
        result=TrialResult(id=str(number), status=status, job=f"job-{number}"),
    )


def halving(objective: Objective = "validation_loss") -> Sweep:
    """Four trials, of which one fails, two go on, one stays."""
    points: list[dict[str, Any]] = [
        {"learning_rate": 0.0001, "batch_size": 32, "model.hidden": [64]},
        {"learning_rate": 0.1, "batch_size": 128, "model.hidden": [128]},
        {"learning_rate": 0.003, "batch_size": 32, "model.hidden": [128]},
        {"learning_rate": 0.01, "batch_size": 64, "model.hidden": [64]},
    ]
    values = [0.9, None, 0.4, 0.5]
    trials = [record(number, values[number], **points[number]) for number in range(4)]
    trials += [record(2, 0.3, 1, 2, **points[2]), record(3, 0.35, 1, 2, **points[3])]
    trials += [record(2, 0.2, 2, 4, **points[2])]
    return Sweep(
        project="mnist",
        run="r1",
        search="successive_halving",
        objective=objective,
        rungs=(1, 2, 4),
        trials=trials,
        best="2c",
    )


def hidden(width: int) -> dict[str, Any]:
    return {"model.hidden": [width]}


def cost(*trials: tuple[str, float | None]) -> RunCost:
    return RunCost(
        project="mnist",
        run="r1",
        trials=[
            TrialCost(
                trial=trial,
                job="j",
                instance_type="ml.m5.large",
                instance_count=1,
                seconds=1,
                billable_seconds=1,
                usd=usd,
                is_whole=True,
            )
            for trial, usd in trials
        ],
        training_usd=1.0,
        functions_usd=0.0,
        total_usd=1.0,
        is_complete=True,
        price_date="2026-01-01",
        price_region="eu-central-1",
    )


def page(sweep: Sweep) -> str:
    request = ReportRequest(project="mnist", run="r1", execution_arn="arn", outcome="promoted")
    return render(request, Sources(sweep=sweep, cost=cost(("2", 0.5))), [])


def test_the_table_has_the_best_first_then_the_pruned_then_the_failed() -> None:
    section = sweep_section(halving(), None)
    assert section is not None
    assert [(row.trial, row.mark) for row in section.rows] == [
        ("2", "best"),
        ("3", "pruned"),
        ("0", "pruned"),
        ("1", "failed"),
    ]
    assert [row.note for row in section.rows][1:3] == [
        "pruned after 2 of 4 epochs",
        "pruned after 1 of 4 epochs",
    ]
    assert section.rows[0].epochs == 4
    assert section.keys == ["learning_rate", "batch_size", "model.hidden"]


def test_a_key_that_no_trial_varies_is_left_out() -> None:
    trials = [record(number, 0.5, momentum=0.9, seed=number) for number in range(3)]
    section = sweep_section(msgspec.structs.replace(halving(), trials=trials, best="0"), None)
    assert section is not None
    assert section.keys == ["seed"]


def test_what_all_jobs_of_a_trial_cost_is_added_and_what_is_not_known_is_not_nothing() -> None:
    section = sweep_section(halving(), cost(("2", 0.25), ("2", 0.5), ("3", None), ("0", 0.125)))
    assert section is not None
    assert {row.trial: row.usd for row in section.rows} == {"2": 0.75, "3": None, "0": 0.125, "1": None}


@pytest.mark.parametrize(("objective", "best"), [("validation_loss", 0.2), ("validation_accuracy", 0.9)])
def test_the_better_end_of_the_objective_is_up(objective: Objective, best: float) -> None:
    sweep = halving(objective)
    section = sweep_section(sweep, None)
    assert section is not None
    top = min(section.axes[-1].ticks, key=lambda tick: tick.at)
    assert (top.text, top.at) == (f"{best:.3g}", TOP)


def test_a_wide_range_is_drawn_by_factors() -> None:
    section = sweep_section(halving(), None)
    assert section is not None
    low, middle, high = section.axes[0].ticks
    assert (low.text, middle.text, high.text) == ("0.0001", "0.00316", "0.1")
    assert middle.at == pytest.approx((low.at + high.at) / 2)


def test_values_that_are_no_numbers_stand_in_the_order_of_their_size() -> None:
    trials = [record(number, 0.5, **hidden(width)) for number, width in enumerate((256, 64, 1024))]
    section = sweep_section(msgspec.structs.replace(halving(), trials=trials, best="0"), None)
    assert section is not None
    assert [tick.text for tick in section.axes[0].ticks] == ["[64]", "[256]", "[1024]"]


def test_the_line_of_a_failed_trial_ends_before_the_objective_and_the_best_lies_on_top() -> None:
    section = sweep_section(halving(), None)
    assert section is not None
    lengths = {line.trial: len(line.points) for line in section.lines}
    assert lengths == {"0": 4, "1": 3, "2": 4, "3": 4}
    assert section.lines[-1].mark == section.curves[-1].mark == "best"
    assert {curve.trial: len(curve.points) for curve in section.curves} == {"0": 1, "2": 4, "3": 2}


def test_the_page_shows_the_section_escapes_reasons_and_draws_every_trial() -> None:
    text = page(halving())
    assert "4 trials, chosen by successive halving, compared by validation loss." in text
    assert "failed: the &lt;loss&gt; is no longer finite" in text
    for mark, count in (("best", 2), ("pruned", 4), ("failed", 1)):
        assert len(re.findall(rf'<polyline class="trial {mark}"', text)) == count
    assert "0.5000" in text


def test_every_search_of_a_recipe_has_a_name_on_the_page() -> None:
    (searches, _) = get_args(get_type_hints(Trials)["search"])
    assert set(SEARCHES) == set(get_args(searches))


def test_an_ordinary_run_has_no_section() -> None:
    sweep = msgspec.structs.replace(halving(), trials=[record(0, 0.5)], best="0")
    assert sweep_section(sweep, None) is None
    assert "<h2>Trials</h2>" not in page(sweep)


def test_the_loss_of_a_regression_is_no_cross_entropy() -> None:
    units = {True: "squared spreads of the target", False: "nats"}
    for is_regression, unit in units.items():
        section = sweep_section(halving(), None, is_regression=is_regression)
        assert section is not None
        assert section.chart is not None
        assert section.chart.unit == unit
