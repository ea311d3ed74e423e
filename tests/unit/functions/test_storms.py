"""A thousand triggers at once, of drops, a schedule and drift, in sixteen threads: one run goes on, one comes after it.

Single calls of registry and executions are atomic, as those of DynamoDB and Step Functions are; what happens between
two of them is up to the threads. All have read the turn before anybody takes it.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest

from functions.start_run.turns import TurnMovedError, Turns
from lehr.contracts.registry import StartCause, Turn
from lehr.contracts.workflow import StartRequest
from tests.fakes import InMemoryRegistry
from tests.unit.functions.test_start_run import RECIPE, World, idx

THREADS, TRIGGERS = 16, 1000
WANTED = RECIPE + "\n[retrain]\non_drift = true\n"
LABELS = "incoming/mnist/train-labels-idx1-ubyte.gz"
# The queue gives a message that often.
DELIVERIES = 5
END = StartRequest(project="mnist", trigger="end-event", is_end_of_run=True)


class Atomic:
    """One call after the other, of all threads; the first look at a turn waits for that of everybody else."""

    def __init__(self, port: object, lock: threading.RLock, barrier: threading.Barrier | None = None) -> None:
        self._port, self._lock, self._barrier, self._local = port, lock, barrier, threading.local()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method

        def call(*given: Any, **named: Any) -> Any:
            with self._lock:
                answer = method(*given, **named)
                if isinstance(answer, Iterator):
                    answer = list(answer)
            if name == "turn" and self._barrier and not getattr(self._local, "has_waited", False):
                self._local.has_waited = True
                self._barrier.wait(timeout=30)
            return answer

        return call


def _rehearse() -> None:
    """By one thread what many do later: types that msgspec decodes for the first time are no matter for several."""
    world = World()
    world.push(WANTED, "c0de")
    for cause in get_args(StartCause):
        world.start_run.start(StartRequest(project="mnist", trigger=f"t-{cause}", cause=cause))


class Storm:
    """A project that hears of everything at once; `most` is how many of its runs went on at the same time."""

    def __init__(self) -> None:
        _rehearse()
        self.world, self.lock, self.most = World(), threading.RLock(), 0
        self.world.data.is_versioned = True
        self.world.push(WANTED, "c0de")
        self.refused: list[str] = []
        self.seen: Counter[str] = Counter()
        start = self.world.executions.start

        def watched(name: str, body: bytes) -> tuple[str, bool]:
            answer = start(name, body)
            self.most = max(self.most, len(self.world.executions.inputs) - len(self.world.executions.stopped))
            return answer

        self.world.executions.start = watched  # type: ignore[method-assign]

    def request(self, number: int) -> StartRequest:
        if number % 10 == 0:
            return StartRequest(project="mnist", cause="schedule")
        if number % 10 == 1:
            return StartRequest(project="mnist", trigger=f"drift-{number:04}", cause="drift")
        with self.lock:
            self.world.data.put(LABELS, idx(60_000) + bytes([number % 256, number // 256]))
        return StartRequest(project="mnist", trigger=f"drop-{number:04}")

    def break_out(self, triggers: int = TRIGGERS) -> None:
        barrier = threading.Barrier(THREADS)
        ports: dict[str, Any] = {
            "data": Atomic(self.world.data, self.lock),
            "registry": Atomic(self.world.registry, self.lock, barrier),
            "executions": Atomic(self.world.executions, self.lock),
        }
        starter = dataclasses.replace(self.world.start_run, **ports)

        def tell(thread: int) -> None:
            for number in range(thread, triggers, THREADS):
                request = self.request(number)
                for _ in range(DELIVERIES):
                    try:
                        answer = starter.start(request)
                    except TurnMovedError:
                        self.seen["delivered again"] += 1
                        continue
                    with self.lock:
                        self.seen[f"{request.cause or 'drop'} {answer.outcome}"] += 1
                    break
                else:
                    self.refused.append(request.trigger)

        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(tell, thread) for thread in range(THREADS)]:
                done.result()

    def end(self) -> str:
        """The run that goes on ends, and that is told."""
        executions = self.world.executions
        (name,) = [one for one in executions.inputs if f"arn:{one}" not in executions.stopped]
        self.world.registry.end_run("mnist", name.removeprefix("mnist-"), status="rejected")
        executions.stopped.add(f"arn:{name}")
        return self.world.start_run.start(END).outcome


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def test_a_storm_of_every_kind_is_one_run_and_one_more_after_it(
    record_property: Callable[[str, object], None],
) -> None:
    storm = Storm()
    storm.break_out()
    print(dict(storm.seen))
    record_property("seen", dict(storm.seen))
    assert (storm.most, len(storm.world.executions.inputs)) == (1, 1)
    assert storm.refused == []
    assert sum(count for kind, count in storm.seen.items() if kind != "delivered again") == TRIGGERS
    assert (storm.seen["drop queued"] > 700, storm.seen["drop refused"]) == (True, 0)
    assert storm.end() == "started"
    assert (storm.most, len(storm.world.executions.inputs)) == (1, 2)
    assert storm.end() == "nothing_new"
    outcomes = Counter(record.outcome for record in storm.world.registry.triggers.values())
    assert outcomes["queued"] == 0
    # Everybody has an answer; a schedule has no name of its own, and gets one here.
    assert sum(outcomes.values()) == TRIGGERS


def test_a_turn_that_is_taken_without_looking_is_several_runs_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: read, then write."""

    def take_turn(registry: InMemoryRegistry, turn: Turn, *, after: Turn | None) -> bool:
        registry.turns[turn.project] = turn
        return True

    monkeypatch.setattr(InMemoryRegistry, "take_turn", take_turn)
    monkeypatch.setattr(Turns, "goes_on", lambda turns, turn: False)
    storm = Storm()
    storm.break_out(THREADS * 4)
    assert storm.most > 1
