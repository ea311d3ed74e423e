"""start_run dies at every call that it makes, before and after it: the queue delivers again, and nothing is missing.

Dead means that nothing of it runs any more: no exception handler, no clean-up. What is left is the world outside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress

import pytest

from functions.start_run import start as starting
from functions.start_run import turns as taking
from functions.start_run.start import StartRun
from functions.start_run.turns import Turns
from lehr import layout
from lehr.contracts.registry import MAX_WAITING, Turn
from lehr.contracts.workflow import RunInput, StartRequest
from tests.dying import Calls, DiedError, Moment, deaths, die
from tests.fakes import InMemoryRegistry
from tests.unit.functions.test_start_run import InMemoryExecutions, World, idx

DROP = StartRequest(project="mnist", trigger="drop-0001")
LATER = StartRequest(project="mnist", trigger="drop-0002")
END = StartRequest(project="mnist", trigger="end-event", is_end_of_run=True)
Record = Callable[[str, object], None]


def dying(world: World, calls: Calls) -> StartRun:
    own = world.start_run
    ports = {
        name: calls.watch(getattr(own, name)) for name in ("data", "artifacts", "registry", "executions")
    }
    return dataclasses.replace(own, **ports)


def change(world: World, number: int) -> None:
    """Other data."""
    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + bytes([number]))


def faults_of(world: World, executions: int) -> list[str]:
    """What is wrong in a world in which every message has been delivered to its end."""
    faults = []
    if len(world.executions.inputs) != executions:
        faults.append(f"{len(world.executions.inputs)} executions")
    for name, raw in world.executions.inputs.items():
        body = RunInput.from_json(raw)
        if not {body.plan.key, layout.recipe_key("mnist", body.run)} <= world.artifacts.objects.keys():
            faults.append(f"{name} has no plan")
        if world.registry.run("mnist", body.run) is None:
            faults.append(f"{name} has no record")
    for (_, trigger), record in world.registry.triggers.items():
        if record.outcome == "queued":
            faults.append(f"{trigger} was never answered")
    return faults


def finish(world: World, run: str) -> None:
    """The run is decided, and its execution has ended."""
    world.registry.end_run("mnist", run, status="rejected")
    world.executions.stopped.add(f"arn:mnist-{run}")


def first_start(number: int, when: Moment) -> tuple[Calls, list[str]]:
    """A drop of a project in which nothing goes on; the message is delivered again after the death."""
    world, calls = World(), Calls(number, when)
    with suppress(DiedError):
        dying(world, calls).start(DROP)
    answer = world.start_run.start(DROP)
    faults = faults_of(world, 1)
    if answer.run not in {RunInput.from_json(raw).run for raw in world.executions.inputs.values()}:
        faults.append(f"it was answered with {answer.outcome} {answer.run!r}")
    if ("mnist", "drop-0001") not in world.registry.triggers:
        faults.append("whoever has dropped finds no answer")
    # And it blocks nobody: what is new then waits for its end, and starts.
    change(world, 9)
    later = world.start_run.start(LATER)
    if (later.outcome, later.run) != ("queued", answer.run):
        faults.append(f"the next drop was {later.outcome}")
    finish(world, answer.run)
    world.start_run.start(END)
    return calls, faults + faults_of(world, 2)


def start_of_another(number: int, when: Moment) -> tuple[Calls, list[str]]:
    """The message never comes again, having failed too often: newer data starts all the same."""
    world, calls = World(), Calls(number, when)
    with suppress(DiedError):
        dying(world, calls).start(DROP)
    change(world, 9)
    answer = world.start_run.start(LATER)
    if answer.outcome == "started":
        return calls, faults_of(world, 1)
    # The first was started before its death: the newer data waits for its end.
    if answer.outcome != "queued":
        return calls, [f"the next drop was {answer.outcome}"]
    finish(world, answer.run)
    world.start_run.start(END)
    count = len(world.executions.inputs)
    return calls, [] if count == 2 else [f"{count} executions"]


def start_of_those_who_wait(number: int, when: Moment) -> tuple[Calls, list[str]]:
    """Two drops have waited for a run whose end is told; that message is delivered again after the death."""
    world, calls = World(), Calls(number, when)
    first = world.start_run.start(StartRequest(project="mnist", trigger="drop-0000"))
    for data, request in enumerate((DROP, LATER), 1):
        change(world, data)
        assert world.start_run.start(request).outcome == "queued"
    finish(world, first.run)
    with suppress(DiedError):
        dying(world, calls).start(END)
    world.start_run.start(END)
    faults = faults_of(world, 2)
    last = [RunInput.from_json(raw).run for raw in world.executions.inputs.values()][-1]
    for request in (DROP, LATER):
        if (record := world.registry.trigger("mnist", request.trigger)) and record.run != last:
            faults.append(f"{request.trigger} was answered with {record.run}")
    turn = world.registry.turns["mnist"]
    if (turn.run, turn.waiting) != (last, []):
        faults.append(f"the turn is of {turn.run}, and {turn.waiting} wait")
    return calls, faults


Scenario = Callable[[int, Moment], tuple[Calls, list[str]]]
SCENARIOS = [first_start, start_of_another, start_of_those_who_wait]


def start_between(number: int, when: Moment) -> tuple[Calls, list[str]]:
    """Nobody dies: another starter, with newer data, does all of its work between two calls of the first."""
    world = World()

    def another() -> None:
        change(world, 9)
        world.start_run.start(LATER)

    calls = Calls(number, when, another)
    dying(world, calls).start(DROP)
    if not number:
        another()
    faults = []
    if len(world.executions.inputs) != 1:
        faults.append(f"{len(world.executions.inputs)} executions at once")
    (name, *_) = world.executions.inputs
    finish(world, name.removeprefix("mnist-"))
    world.start_run.start(END)
    trained = [RunInput.from_json(raw).run for raw in world.executions.inputs.values()]
    if world.start_run.start(LATER).run != trained[-1]:
        faults.append("the newest data is not trained last")
    if len(trained) > 2:
        faults.append(f"{len(trained)} executions")
    return calls, faults + faults_of(world, len(trained))


def campaign(scenario: Scenario) -> tuple[int, list[str]]:
    """How many deaths landed, and what went wrong after which."""
    whole, faults = scenario(0, "before")
    assert faults == [], "without a death"
    landed, found = 0, []
    for number, when in deaths(len(whole.made)):
        calls, faults = scenario(number, when)
        landed += calls.has_landed
        found += [f"died {when} call {number}, {calls.made[number - 1]}: {fault}" for fault in faults]
    return landed, found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_wherever_a_start_dies_one_run_is_started_and_everybody_is_answered(
    scenario: Scenario, record_property: Record
) -> None:
    landed, found = campaign(scenario)
    print(f"{scenario.__name__}: {landed} deaths")
    record_property("deaths", landed)
    assert found == []
    assert landed >= 30


def test_two_starters_between_each_others_calls_start_one_run_at_a_time(record_property: Record) -> None:
    landed, found = campaign(start_between)
    print(f"{landed} starts between two calls")
    record_property("interruptions", landed)
    assert found == []
    assert landed >= 30


def test_without_the_start_of_others_two_runs_go_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a turn whose execution is not there yet counts as free."""
    monkeypatch.setattr(Turns, "_is_begun_now", lambda *given: False)
    _, found = campaign(start_between)
    assert any(fault.endswith("take_turn: 2 executions at once") for fault in found)


def test_without_names_by_content_a_death_is_a_second_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: whoever is called again starts again."""

    def start(executions: InMemoryExecutions, name: str, body: bytes) -> tuple[str, bool]:
        arn = f"{name}-again" if name in executions.inputs else name
        executions.inputs[arn] = body
        return f"arn:{arn}", True

    monkeypatch.setattr(InMemoryExecutions, "start", start)
    _, found = campaign(first_start)
    assert any("2 executions" in fault for fault in found)


def test_without_a_look_at_the_execution_a_death_blocks_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a turn counts as taken until the registry has the end of its run."""

    def goes_on(turns: Turns, turn: Turn) -> bool:
        record = turns.registry.run("mnist", turn.run)
        return record is None or record.status == "running"

    monkeypatch.setattr(Turns, "goes_on", goes_on)
    _, found = campaign(start_of_another)
    assert any(fault.endswith("take_turn: 0 executions") for fault in found)


def test_without_those_who_wait_in_the_turn_a_death_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: they leave the list before they have their answer."""
    monkeypatch.setattr(taking, "Turn", lambda waiting, **others: Turn(waiting=[], **others))
    _, found = campaign(start_of_those_who_wait)
    assert any(fault.endswith("take_turn: 1 executions") for fault in found)
    assert any(fault.endswith("take_turn: drop-0002 was never answered") for fault in found)


class LastOfMany(InMemoryRegistry):
    """Keeps no more than a full list, as the table does; `latecomer` waits when the next turn is taken."""

    latecomer = ""

    def take_turn(self, turn: Turn, *, after: Turn | None) -> bool:
        is_taken = super().take_turn(turn, after=after)
        if is_taken and self.latecomer:
            trigger, self.latecomer = self.latecomer, ""
            assert self.wait_for_turn(turn, trigger)
        return is_taken

    def wait_for_turn(self, turn: Turn, trigger: str) -> bool:
        current = self.turns[turn.project]
        is_full = len(current.waiting) >= MAX_WAITING
        return current.number == turn.number if is_full else super().wait_for_turn(turn, trigger)


def test_who_comes_while_a_full_list_is_answered_is_not_forgotten() -> None:
    world, registry = World(), LastOfMany()
    world.registry, world.start_run = registry, dataclasses.replace(world.start_run, registry=registry)
    first = world.start_run.start(StartRequest(project="mnist", trigger="first"))
    change(world, 1)
    for number in range(MAX_WAITING):
        world.start_run.start(StartRequest(project="mnist", trigger=f"drop-{number:04}"))
    finish(world, first.run)
    registry.latecomer = "latecomer"
    second = world.start_run.start(END)
    assert len(registry.turns["mnist"].waiting) == 1
    change(world, 2)
    finish(world, second.run)
    third = world.start_run.start(END)
    assert (third.outcome, third.run != second.run) == ("started", True)
    assert registry.turns["mnist"].waiting == []
    assert faults_of(world, 3) == []


def test_what_was_to_start_long_ago_is_not_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world, executions = World(), InMemoryExecutions()
    monkeypatch.setattr(executions, "start", lambda name, body: die())
    with monkeypatch.context() as patch, suppress(DiedError):
        patch.setattr(starting, "now", lambda: "2020-01-01T00:00:00.000Z")
        dataclasses.replace(world.start_run, executions=executions).start(DROP)
    assert (world.registry.turns["mnist"].number, world.executions.inputs) == (1, {})
    change(world, 1)
    assert world.start_run.start(LATER).outcome == "started"
    assert len(world.executions.inputs) == 1


class Late(InMemoryExecutions):
    """Knows nothing of an execution when it is first asked about it; a second start of what goes on is the first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def is_running(self, arn: str) -> bool:
        is_first = arn not in self.asked
        self.asked.add(arn)
        return super().is_running(arn) and not is_first

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        arn, is_new = super().start(name, body)
        return arn, is_new or (self.inputs[name] == body and arn not in self.stopped)


def late_world() -> World:
    world, executions = World(), Late()
    world.executions, world.start_run = (
        executions,
        dataclasses.replace(world.start_run, executions=executions),
    )
    return world


@pytest.mark.parametrize("is_other", [False, True], ids=["the same data", "other data"])
def test_an_execution_that_is_not_known_yet_is_not_taken_for_one_that_has_ended(is_other: bool) -> None:
    world = late_world()
    first = world.start_run.start(DROP)
    if is_other:
        change(world, 1)
    second = world.start_run.start(LATER)
    assert (second.outcome, second.run) == ("queued" if is_other else "nothing_new", first.run)
    assert len(world.executions.inputs) == 1
    world.executions.stopped.add(first.execution_arn)
    third = world.start_run.start(LATER)
    assert (third.outcome, third.run != first.run) == ("started", True)


def test_without_a_second_start_an_execution_that_is_not_known_yet_is_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control."""
    monkeypatch.setattr(Turns, "_is_begun_now", lambda *given: False)
    world = late_world()
    world.start_run.start(DROP)
    assert world.start_run.start(LATER).outcome == "started"
    assert len(world.executions.inputs) == 2
