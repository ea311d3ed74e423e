"""The budget: nothing is started that could cost more than the recipe allows, and the answer has the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from functions.start_run.budget import check_budget
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import RunInput, StartRequest
from lehr.costs import month_to_date
from lehr.errors import BudgetError, UnknownPriceError
from lehr.estimates import BEHIND_WALL_S
from tests.fakes import InMemoryRegistry
from tests.unit.functions.test_start_run import RECIPE, World

START = StartRequest(project="mnist", trigger="drop-0001")


def record(run: str, day: str, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "project": "mnist",
        "run": run,
        "status": "promoted",
        "started_at": f"2026-{day}T12:00:00.000Z",
        "execution_arn": "arn",
        "code_sha": "c",
        "fingerprint": "f",
    }
    return RunRecord(**fields | changes)


def checked(budget: str, registry: InMemoryRegistry | None = None, recipe: str = RECIPE) -> float | None:
    return check_budget(
        parse_recipe(f"{recipe}\n{budget}"),
        registry or InMemoryRegistry(),
        shards=3,
        at="2026-01-31T12:00:00.000Z",
    )


def test_a_run_over_its_budget_is_refused_before_anything_is_written_or_started() -> None:
    world = World()
    world.push(f"{RECIPE}\n[budget]\nmax_usd_per_run = 0.5\n", "c0de2")
    answer = world.start_run.start(START)
    assert answer.outcome == "refused"
    assert "the run could cost " in answer.reason
    assert "max_usd_per_run = 0.5" in answer.reason
    assert "1 trial(s) x 1 h x (" in answer.reason
    assert "lower backend.max_runtime_s" in answer.reason
    assert not world.executions.inputs
    assert not world.registry.run_records
    assert not [key for key in world.artifacts.writes if key.startswith("runs/")]


def test_a_run_within_its_budget_is_started_and_remembers_its_worst_case() -> None:
    world = World()
    world.push(f"{RECIPE}\n[budget]\nmax_usd_per_run = 5\nmax_usd_per_month = 5\n", "c0de2")
    answer = world.start_run.start(START)
    assert answer.outcome == "started"
    run = world.registry.run("mnist", answer.run)
    assert run is not None
    assert run.estimated_usd is not None
    assert 1 < run.estimated_usd < 5


def test_the_month_counts_what_was_billed_and_of_the_rest_the_worst_case() -> None:
    records = [
        record("a", "01-02", estimated_usd=5.0, actual_usd=1.0),
        record("b", "01-30", estimated_usd=2.0, status="running"),
        record("c", "01-30"),
        record("d", "02-01", estimated_usd=9.0),
    ]
    assert month_to_date(records, "2026-01") == 3.0


def test_a_month_that_is_spent_refuses_the_next_run_with_the_sum() -> None:
    registry = InMemoryRegistry()
    registry.add_run(record("a", "01-02", actual_usd=9.0))
    with pytest.raises(
        BudgetError, match=r"with 9\.00 USD of this month \(2026-01\) .* max_usd_per_month = 10"
    ):
        checked("[budget]\nmax_usd_per_month = 10\n", registry)
    assert checked("[budget]\nmax_usd_per_month = 20\n", registry)


def test_last_month_does_not_count() -> None:
    registry = InMemoryRegistry()
    registry.add_run(record("a", "02-02", actual_usd=9.0))
    assert checked("[budget]\nmax_usd_per_month = 10\n", registry)


def test_without_a_limit_an_unknown_instance_type_trains_and_with_one_it_cannot_be_judged() -> None:
    recipe = RECIPE.replace("ml.g5.xlarge", "ml.z9.huge")
    assert checked("", recipe=recipe) is None
    with pytest.raises(UnknownPriceError, match="--refresh"):
        checked("[budget]\nmax_usd_per_run = 1000\n", recipe=recipe)


def test_a_wall_is_told_to_the_trials_and_the_job_ends_a_little_behind_it() -> None:
    world = World()
    world.push(f"{RECIPE}\n[budget]\nstop_at_usd = 0.5\n", "c0de2")
    assert world.start_run.start(START).outcome == "started"
    (body,) = world.executions.inputs.values()
    asked = RunInput.from_json(body)
    assert 900 < asked.wall_s < 1500
    assert asked.resources.max_runtime_s == asked.wall_s + BEHIND_WALL_S


def test_a_wall_too_near_refuses_the_run_and_without_one_there_is_none() -> None:
    world = World()
    world.push(f"{RECIPE}\n[budget]\nstop_at_usd = 0.01\n", "c0de2")
    answer = world.start_run.start(START)
    assert (answer.outcome, answer.error) == ("refused", "BudgetError")
    assert "stop_at_usd = 0.01 buys 0 s" in answer.reason
    world.push(RECIPE, "c0de3")
    assert world.start_run.start(START).outcome == "started"
    (body,) = world.executions.inputs.values()
    assert RunInput.from_json(body).wall_s == 0
