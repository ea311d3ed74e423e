"""A project has one run at a time; what is new meanwhile waits, and one run answers all who have waited."""

from __future__ import annotations

import json

import msgspec
import pytest

from functions.start_run.triggers import read_message
from functions.start_run.turns import TurnMovedError
from lehr.contracts.registry import TriggerRecord, Turn
from lehr.contracts.workflow import StartAnswer, StartRequest
from tests.unit.functions.test_start_run import World, idx

END = StartRequest(project="mnist", trigger="end-event", is_end_of_run=True)


@pytest.fixture
def world() -> World:
    return World()


def drop(world: World, number: int) -> StartAnswer:
    """Other data each time."""
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + bytes([number % 256, number // 256]))
    return world.start_run.start(StartRequest(project="mnist", trigger=f"drop-{number:04}"))


def end(world: World, answer: StartAnswer) -> StartAnswer:
    """The run is decided, its execution ends, and Step Functions says so."""
    world.registry.end_run("mnist", answer.run, status="rejected")
    world.executions.stopped.add(answer.execution_arn)
    return world.start_run.start(END)


def answers_to(world: World) -> dict[str, TriggerRecord]:
    return {trigger: record for (_, trigger), record in world.registry.triggers.items()}


def test_what_is_new_waits_for_the_run_that_goes_on(world: World) -> None:
    first, second = drop(world, 1), drop(world, 2)
    assert (first.outcome, second.outcome, second.run) == ("started", "queued", first.run)
    assert len(world.executions.inputs) == 1
    assert answers_to(world)["drop-0002"].outcome == "queued"


def test_a_thousand_events_are_two_runs_and_each_gets_an_answer(world: World) -> None:
    first = drop(world, 0)
    for number in range(1, 1000):
        drop(world, number)
    assert len(world.executions.inputs) == 1
    last = end(world, first)
    assert last.outcome == "started"
    assert len(world.executions.inputs) == 2
    assert {record.outcome for record in answers_to(world).values()} == {"started"}
    assert {record.run for trigger, record in answers_to(world).items() if trigger != "drop-0000"} == {
        last.run
    }
    # On what the data is by then, and not on what it was at the first of them.
    assert end(world, last).outcome == "nothing_new"
    assert drop(world, 999).outcome == "nothing_new"


def test_the_end_of_a_run_for_which_nobody_has_waited_does_nothing(world: World) -> None:
    first = drop(world, 1)
    assert end(world, first).reason == "nobody has waited"
    assert len(world.executions.inputs) == 1
    assert set(answers_to(world)) == {"drop-0001"}


def test_a_run_that_was_stopped_from_outside_is_in_nobodys_way(world: World) -> None:
    first = drop(world, 1)
    world.executions.stopped.add(first.execution_arn)
    assert drop(world, 2).outcome == "started"


def test_an_end_that_comes_late_leaves_the_next_turn_as_it_is(world: World) -> None:
    first = drop(world, 1)
    world.registry.end_run("mnist", first.run, status="rejected")
    second = drop(world, 2)
    drop(world, 3)
    assert world.start_run.start(END).outcome == "queued"
    assert world.registry.turns["mnist"].waiting == ["drop-0003"]
    assert world.registry.turns["mnist"].run == second.run


def test_data_that_cannot_be_trained_on_is_refused_to_all_who_have_waited(world: World) -> None:
    first = drop(world, 1)
    drop(world, 2)
    del world.data.objects["incoming/mnist/train-images-idx3-ubyte.gz"]
    assert end(world, first).outcome == "refused"
    assert "train-images-idx3-ubyte.gz not found" in answers_to(world)["drop-0002"].reason


def test_a_run_that_ends_while_one_begins_to_wait_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drop(world, 1)
    wait = world.registry.wait_for_turn

    def ends_meanwhile(turn: Turn, trigger: str) -> bool:
        world.registry.end_run("mnist", first.run, status="rejected")
        return wait(turn, trigger)

    monkeypatch.setattr(world.registry, "wait_for_turn", ends_meanwhile)
    assert drop(world, 2).outcome == "started"
    assert answers_to(world)["drop-0002"].outcome == "started"


def test_a_turn_that_is_never_free_ends_in_an_error_and_the_queue_tries_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.registry, "take_turn", lambda turn, *, after: False)
    with pytest.raises(TurnMovedError):
        drop(world, 1)


def test_the_end_of_an_execution_is_read_as_one(world: World) -> None:
    event = {
        "id": "event-id",
        "source": "aws.states",
        "detail": {
            "name": "mnist-r1",
            "status": "ABORTED",
            "input": json.dumps({"project": "mnist", "run": "r1"}),
        },
    }
    request = read_message(json.dumps(event), world.data)
    assert request == msgspec.structs.replace(END, trigger="event-id")
