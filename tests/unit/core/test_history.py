"""Which states of the top level an execution entered and left, from its history alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from lehr.history import Entered, Left, TopLevel

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def entered(second: int, kind: str, name: str) -> dict[str, Any]:
    at = BEGIN + timedelta(seconds=second)
    return {"type": f"{kind}StateEntered", "timestamp": at, "stateEnteredEventDetails": {"name": name}}


def exited(second: int, kind: str, name: str) -> dict[str, Any]:
    at = BEGIN + timedelta(seconds=second)
    return {"type": f"{kind}StateExited", "timestamp": at, "stateExitedEventDetails": {"name": name}}


def event(second: int, kind: str) -> dict[str, Any]:
    return {"type": kind, "timestamp": BEGIN + timedelta(seconds=second)}


def left(events: Iterable[dict[str, Any]]) -> list[tuple[str, float, bool]]:
    states = TopLevel()
    changes = [change for one in events for change in states.read(one)]
    assert any(isinstance(change, Entered) for change in changes)
    return [
        (change.state, change.seconds, change.has_failed) for change in changes if isinstance(change, Left)
    ]


def test_a_state_lasts_from_its_entry_to_its_exit() -> None:
    assert left([entered(1, "Task", "A"), exited(3, "Task", "A")]) == [("A", 2.0, False)]


def test_what_runs_within_a_map_belongs_to_the_map() -> None:
    events = [
        entered(0, "Map", "TrainTrials"),
        entered(1, "Task", "Train"),
        exited(5, "Task", "Train"),
        exited(6, "Map", "TrainTrials"),
        entered(6, "Task", "Next"),
        exited(7, "Task", "Next"),
    ]
    assert left(events) == [("TrainTrials", 6.0, False), ("Next", 1.0, False)]


def test_a_state_that_fails_ends_where_its_catch_leads() -> None:
    events = [
        entered(0, "Task", "A"),
        entered(4, "Task", "RecordFailure"),
        exited(5, "Task", "RecordFailure"),
    ]
    assert left(events) == [("A", 4.0, True), ("RecordFailure", 1.0, False)]


def test_a_map_that_fails_lets_go_of_what_follows() -> None:
    events = [
        entered(0, "Map", "M"),
        event(1, "MapRunFailed"),
        entered(1, "Task", "R"),
        exited(2, "Task", "R"),
    ]
    assert left(events) == [("M", 1.0, True), ("R", 1.0, False)]


def test_an_execution_that_is_stopped_takes_its_open_state_along() -> None:
    assert left([entered(0, "Task", "A"), event(9, "ExecutionAborted")]) == [("A", 9.0, True)]
