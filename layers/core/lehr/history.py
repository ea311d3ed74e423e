"""What an execution's history says about the states of its top level: when each was entered and left.

The machine has no Parallel at its top, so whatever begins while a Map is open lies within that Map. A state that
fails has no exit of its own: it ends when the state that its Catch names is entered, or with the execution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

EXECUTION_ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}
# What a person is told of such an end.
END_WORDS = {
    "FAILED": "failed",
    "ABORTED": "stopped",
    "TIMED_OUT": "ran out of time",
    "SUCCEEDED": "completed",
}
_MAP_ENDS = {"MapStateFailed", "MapStateAborted", "MapRunFailed"}
# Where an item of a Map goes on after its task has failed.
CAUGHT_STATES = {"TrialFailed", "PrepareFailed", "EvaluateFailed"}


@dataclass(frozen=True, kw_only=True)
class Entered:
    """A state of the top level has begun."""

    state: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Left:
    """A state of the top level has ended.

    `has_failed`: an error took it to another state, or every item of a Map failed.
    """

    state: str
    since: datetime
    at: datetime
    has_failed: bool

    @property
    def seconds(self) -> float:
        return (self.at - self.since).total_seconds()


class TopLevel:
    """Reads the events of GetExecutionHistory in order. Pure: times come from the events.

    Of a Map that is open, `items` are as many as it has (None while nobody knows), `items_ended` and `items_failed`
    those that have. A distributed Map's are executions of their own, and not counted.
    """

    def __init__(self) -> None:
        self.items: int | None = None
        self.items_ended = self.items_failed = 0
        self._open: Entered | None = None
        self._is_in_map = False

    @property
    def state(self) -> str:
        """Name of the open state, or ""."""
        return self._open.state if self._open else ""

    @property
    def is_in_map(self) -> bool:
        """Whether the next event lies within a Map that is still open."""
        return self._is_in_map

    def read(self, event: Mapping[str, Any]) -> Iterator[Entered | Left]:
        kind, at = str(event["type"]), event["timestamp"]
        self._count(kind, event)
        if kind in EXECUTION_ENDS:
            yield from self._leave(at, has_failed=kind != "ExecutionSucceeded")
        elif kind in _MAP_ENDS:
            # Its exit never comes: what is entered next is outside it.
            self._is_in_map = False
        elif kind.endswith("StateEntered") and not self._is_in_map:
            yield from self._leave(at, has_failed=True)
            self._open = Entered(state=str(event["stateEnteredEventDetails"]["name"]), at=at)
            self.items, self.items_ended, self.items_failed = None, 0, 0
            self._is_in_map = kind.startswith("Map")
            yield self._open
        elif kind.endswith("StateExited") and event["stateExitedEventDetails"]["name"] == self.state:
            yield from self._leave(at, has_failed=False)

    def _count(self, kind: str, event: Mapping[str, Any]) -> None:
        if not self._open:
            return
        if kind == "MapStateStarted":
            # A distributed Map says 0 here, before it has read its items.
            self.items = event["mapStateStartedEventDetails"].get("length") or None
        elif kind.endswith("StateEntered") and self._is_in_map:
            self.items_failed += event["stateEnteredEventDetails"]["name"] in CAUGHT_STATES
        elif kind == "MapIterationSucceeded":
            self.items_ended += 1
        elif kind in {"MapIterationFailed", "MapIterationAborted"}:
            self.items_ended += 1
            self.items_failed += 1

    def _leave(self, at: datetime, *, has_failed: bool) -> Iterator[Left]:
        if self._open:
            all_failed = bool(self.items_failed) and self.items_failed == self.items
            left = Left(
                state=self._open.state, since=self._open.at, at=at, has_failed=has_failed or all_failed
            )
            self._open, self._is_in_map = None, False
            yield left
