"""Runs that start by themselves: only where the recipe wants them, one in a cooldown, within their money."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from functions.start_run.retraining import refuse_unaffordable, refuse_unwanted
from functions.start_run.triggers import read_message
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import StartAnswer, StartRequest
from lehr.errors import BudgetError, ContractError, RetrainError
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.functions.test_start_run import RECIPE, World, idx

WANTED = f"{RECIPE}\n[retrain]\non_drift = true\ncooldown_h = 24\n"


def record(run: str, started_at: str, **more: Any) -> RunRecord:
    fields = {"status": "promoted", "execution_arn": "a", "code_sha": "c", "fingerprint": "f"} | more
    return RunRecord(project="mnist", run=run, started_at=started_at, **fields)


def drift(number: int = 1) -> StartRequest:
    return StartRequest(project="mnist", trigger=f"drift-{number:04}", cause="drift")


@pytest.fixture
def world() -> World:
    world = World()
    world.push(WANTED, "c0de")
    return world


def age(world: World, run: str) -> None:
    """The run has ended, long ago."""
    world.registry.end_run("mnist", run, status="promoted")
    known = world.registry.run_records["mnist", run]
    world.registry.run_records["mnist", run] = msgspec.structs.replace(
        known, started_at="2020-01-01T00:00:00.000Z"
    )


def outcome_of(world: World, trigger: str) -> str:
    return world.registry.triggers["mnist", trigger].outcome


def test_a_drift_event_is_read_as_a_request_with_its_cause() -> None:
    event = {"source": "lehr", "detail-type": "DriftFound", "id": "e-1", "detail": {"project": "mnist"}}
    request = read_message(json.dumps(event), InMemoryObjectStore())
    assert request == StartRequest(project="mnist", trigger="e-1", cause="drift")
    with pytest.raises(ContractError):
        read_message(json.dumps(event | {"detail": {}}), InMemoryObjectStore())


def test_by_default_a_drift_starts_nothing_and_says_what_would(world: World) -> None:
    world.push(RECIPE, "c0de")
    answer = world.start_run.start(drift())
    assert answer.outcome == "refused"
    assert "on_drift = true" in answer.reason
    assert world.executions.inputs == {}
    assert world.registry.triggers["mnist", "drift-0001"].outcome == "refused"


def test_a_drift_starts_one_run_however_often_it_is_told(world: World) -> None:
    answers = [world.start_run.start(drift(number)) for number in range(200)]
    assert [answer.outcome for answer in answers] == ["started"] + ["refused"] * 199
    assert len(world.executions.inputs) == 1
    assert world.registry.run_records["mnist", answers[0].run].cause == "drift"


def test_after_its_end_the_cooldown_holds_and_then_only_new_data_is_trained_on(world: World) -> None:
    first = world.start_run.start(drift(1))
    world.registry.end_run("mnist", first.run, status="rejected")
    world.executions.stopped.add(first.execution_arn)
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + b"\1")
    told = world.start_run.start(drift(2))
    assert (told.outcome, "cooldown_h = 24" in told.reason) == ("refused", True)
    age(world, first.run)
    assert world.start_run.start(drift(3)).outcome == "started"


def test_a_drift_without_new_data_starts_no_second_run(world: World) -> None:
    first = world.start_run.start(drift(1))
    age(world, first.run)
    world.executions.stopped.add(first.execution_arn)
    assert world.start_run.start(drift(2)).outcome == "nothing_new"


def test_people_and_dropped_data_are_not_asked(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist", trigger="drop-0001"))
    world.registry.end_run("mnist", first.run, status="rejected")
    world.executions.stopped.add(first.execution_arn)
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + b"\1")
    assert world.start_run.start(StartRequest(project="mnist", trigger="drop-0002")).outcome == "started"


def test_whoever_waits_is_not_answered_by_a_drift_that_is_refused(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist", trigger="drop-0001"))
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + b"\1")
    waits = world.start_run.start(StartRequest(project="mnist", trigger="drop-0002"))
    assert waits.outcome == "queued"
    assert world.start_run.start(drift()).outcome == "refused"
    assert outcome_of(world, "drop-0002") == "queued"
    world.registry.end_run("mnist", first.run, status="promoted")
    world.executions.stopped.add(first.execution_arn)
    # The drift comes before the event of the end.
    assert world.start_run.start(drift(2)).outcome == "refused"
    assert outcome_of(world, "drop-0002") == "queued"
    assert world.start_run.start(StartRequest(project="mnist", is_end_of_run=True)).outcome == "started"
    assert outcome_of(world, "drop-0002") == "started"


def test_a_run_of_anybody_begins_the_cooldown() -> None:
    registry, recipe = InMemoryRegistry(), parse_recipe(WANTED)
    registry.add_run(record("r1", "2026-01-31T00:00:00.000Z"))
    with pytest.raises(RetrainError, match="2026-02-01T00:00:00"):
        refuse_unwanted(recipe, "drift", registry, at="2026-01-31T23:59:00.000Z")
    refuse_unwanted(recipe, "drift", registry, at="2026-02-01T00:00:00.000Z")
    refuse_unwanted(recipe, "", registry, at="2026-01-31T00:00:01.000Z")
    with pytest.raises(RetrainError, match="r9 goes on"):
        refuse_unwanted(recipe, "drift", registry, goes_on="r9", at="2026-03-01T00:00:00.000Z")


def test_the_months_money_is_that_of_the_runs_that_started_by_themselves() -> None:
    registry = InMemoryRegistry()
    recipe = parse_recipe(f"{WANTED}max_usd_per_month = 5\n")
    at = "2026-01-31T00:00:00.000Z"
    registry.add_run(record("r1", "2026-01-02T00:00:00.000Z", cause="drift", estimated_usd=3.0))
    registry.add_run(record("r2", "2026-01-03T00:00:00.000Z", estimated_usd=100.0))
    registry.add_run(record("r3", "2025-12-31T00:00:00.000Z", cause="drift", actual_usd=100.0))
    refuse_unaffordable(recipe, "drift", registry, estimated_usd=2.0, at=at)
    with pytest.raises(BudgetError, match=r"2.50 USD; with 3.00 USD .* 5.50, over max_usd_per_month = 5"):
        refuse_unaffordable(recipe, "drift", registry, estimated_usd=2.5, at=at)
    with pytest.raises(BudgetError, match="no known price"):
        refuse_unaffordable(recipe, "drift", registry, estimated_usd=None, at=at)
    refuse_unaffordable(recipe, "", registry, estimated_usd=100.0, at=at)
    refuse_unaffordable(parse_recipe(WANTED), "drift", registry, estimated_usd=None, at=at)


def scheduled(world: World) -> StartAnswer:
    return world.start_run.start(StartRequest(project="mnist", cause="schedule"))


def grow(world: World, number: int) -> None:
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + bytes([number]))


def trained(world: World, run: str, accuracy: float) -> None:
    """The run has ended with a champion."""
    world.registry.end_run("mnist", run, status="promoted", accuracy=accuracy, model_version="v1")
    world.registry.set_run_cost("mnist", run, 0.5)
    world.registry.promote("mnist", "v1", run=run, generation=0)
    world.executions.stopped.add(world.registry.run_records["mnist", run].execution_arn)


@pytest.mark.parametrize(("price", "outcome"), [("0.001", "refused"), ("1000000000", "started")])
def test_a_schedule_starts_what_is_worth_its_money_and_says_the_numbers(
    world: World, price: str, outcome: str
) -> None:
    world.push(f"{RECIPE}\n[retrain]\nmax_usd_per_point = {price}\n", "c0de")
    first = scheduled(world)
    assert first.outcome == "started"
    assert "nothing is known of a champion's run" in first.reason
    trained(world, first.run, accuracy=0.9)
    grow(world, 1)
    second = scheduled(world)
    assert second.outcome == outcome
    assert f"max_usd_per_point = {float(price):g}" in second.reason
    assert "USD a point" in second.reason
    records = [record for record in world.registry.triggers.values() if record.reason == second.reason]
    assert [record.outcome for record in records] == [outcome]


def test_a_person_and_dropped_data_are_not_weighed(world: World) -> None:
    world.push(f"{RECIPE}\n[retrain]\nmax_usd_per_point = 0.001\n", "c0de")
    first = scheduled(world)
    trained(world, first.run, accuracy=0.9)
    grow(world, 1)
    assert world.start_run.start(StartRequest(project="mnist", trigger="drop-0001")).outcome == "started"


def test_without_a_price_a_schedule_starts_as_it_always_did(world: World) -> None:
    world.push(RECIPE, "c0de")
    first = scheduled(world)
    trained(world, first.run, accuracy=0.9)
    grow(world, 1)
    second = scheduled(world)
    assert (second.outcome, "USD a point" in second.reason) == ("started", False)
    assert world.registry.run_records["mnist", second.run].cause == "schedule"
