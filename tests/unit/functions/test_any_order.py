"""Drops, deliveries and ends in all 720 orders of six: one run at a time, each on newer data, the newest trained last.

S3 and EventBridge keep no order, and deliver twice. What is told too early in an order is told after it, the latest
first, and everything is told once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, permutations

import msgspec
import pytest

from functions.start_run.turns import Turns
from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.workflow import RunInput, StartRequest
from tests.fakes import InMemoryRegistry
from tests.unit.functions.test_start_run import World, idx

LABELS = "incoming/mnist/train-labels-idx1-ubyte.gz"
EVENTS = ("drop one", "drop two", "tell one", "tell two", "a run ends", "tell its end")


@dataclass
class Project:
    """A project with a run that goes on, and the queue of its triggers."""

    world: World = field(default_factory=World)
    queue: dict[str, StartRequest] = field(default_factory=dict)
    told: list[StartRequest] = field(default_factory=list)
    # Of every state of the data its number, by the ETag of what differs.
    written: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        start = self.world.executions.start

        def watched(name: str, body: bytes) -> tuple[str, bool]:
            if self.running and name not in self.world.executions.inputs:
                self.faults.append("two runs at once")
            return start(name, body)

        self.world.executions.start = watched  # type: ignore[method-assign]
        self.drop("zero")
        self.tell("zero")

    @property
    def running(self) -> list[str]:
        executions = self.world.executions
        return [name for name in executions.inputs if f"arn:{name}" not in executions.stopped]

    @property
    def trained(self) -> list[int]:
        """The state of the data of each execution, in the order of their starts."""
        numbers = []
        for raw in self.world.executions.inputs.values():
            plan = self.world.artifacts.objects[RunInput.from_json(raw).plan.key]
            unit = next(
                one for one in msgspec.json.decode(plan, type=list[PrepareUnit]) if one.source == "train"
            )
            numbers.append(self.written[unit.labels.etag])
        return numbers

    def drop(self, name: str) -> None:
        number = len(self.written)
        self.world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + bytes([number]))
        self.written[self.world.data.etag(LABELS)] = number
        self.queue[name] = StartRequest(project="mnist", trigger=f"drop-{name}")

    def end(self) -> None:
        for name in self.running:
            run = name.removeprefix("mnist-")
            self.world.registry.end_run("mnist", run, status="rejected")
            self.world.executions.stopped.add(f"arn:{name}")
            self.queue["end"] = StartRequest(project="mnist", trigger=f"end-{run}", is_end_of_run=True)

    def tell(self, name: str) -> None:
        request = self.queue.pop(name, None)
        if request is None:
            self.seen["told too early"] += 1
            return
        self.seen[self.world.start_run.start(request).outcome] += 1
        self.told.append(request)

    def happen(self, event: str) -> None:
        kind, _, name = event.rpartition(" ")
        if kind == "drop":
            self.drop(name)
        elif event == "a run ends":
            self.end()
        else:
            self.tell(name)

    def settle(self) -> None:
        """All that is in the queue, all of it once more, and the end of every run."""
        for name in list(self.queue)[::-1]:
            self.tell(name)
        for request in self.told[::-1]:
            self.seen["told twice"] += 1
            self.world.start_run.start(request)
        while self.running:
            self.end()
            self.tell("end")

    def check(self) -> list[str]:
        trained, newest = self.trained, len(self.written) - 1
        faults = list(dict.fromkeys(self.faults))
        if trained[-1] != newest:
            faults.append("the newest data is not trained last")
        if trained != sorted(set(trained)):
            faults.append("older data is trained after newer")
        if any(record.outcome == "queued" for record in self.world.registry.triggers.values()):
            faults.append("a trigger was never answered")
        return faults


def in_orders(step: int = 1) -> tuple[Counter[str], Counter[str]]:
    """How often each fault was found, and what has happened in all orders together; or in every so manieth."""
    faults: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for order in islice(permutations(EVENTS), 0, None, step):
        project = Project()
        for event in order:
            project.happen(event)
        project.settle()
        faults.update(project.check())
        seen += project.seen + Counter({"orders": 1, f"{len(project.trained)} runs": 1})
    return faults, seen


def test_in_whatever_order_they_come_the_newest_data_is_trained_last(
    record_property: Callable[[str, object], None],
) -> None:
    faults, seen = in_orders()
    print(dict(seen))
    record_property("seen", dict(seen))
    assert not faults
    assert seen["orders"] == 720
    assert (
        min(seen["told too early"], seen["told twice"], seen["queued"], seen["2 runs"], seen["3 runs"]) > 100
    )


def test_without_turns_runs_overtake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: every content that is new starts at once."""
    monkeypatch.setattr(Turns, "goes_on", lambda turns, turn: False)
    faults, _ = in_orders(7)
    assert faults["two runs at once"] > 10


def test_without_a_list_of_those_who_wait_the_newest_data_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: who comes during a run is told to wait, and nobody keeps the name."""
    monkeypatch.setattr(InMemoryRegistry, "wait_for_turn", lambda registry, turn, trigger: True)
    faults, _ = in_orders(7)
    assert faults["the newest data is not trained last"] > 10
    assert faults["a trigger was never answered"] > 10
