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
_MAP_ENDS = {"MapStateFailed", "MapStateAborted", "MapRunFailed"}


@dataclass(frozen=True, kw_only=True)
class Entered:
    """A state of the top level has begun."""

    state: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Left:
    """A state of the top level has ended; `has_failed` if an error took it to another state."""

    state: str
    since: datetime
    at: datetime
    has_failed: bool

    @property
    def seconds(self) -> float:
        return (self.at - self.since).total_seconds()


class TopLevel:
    """Reads the events of GetExecutionHistory in order. Pure: times come from the events."""

    def __init__(self) -> None:
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
        if kind in EXECUTION_ENDS:
            yield from self._leave(at, has_failed=kind != "ExecutionSucceeded")
        elif kind in _MAP_ENDS:
            # Its exit never comes: what is entered next is outside it.
            self._is_in_map = False
        elif kind.endswith("StateEntered") and not self._is_in_map:
            yield from self._leave(at, has_failed=True)
            self._open = Entered(state=str(event["stateEnteredEventDetails"]["name"]), at=at)
            self._is_in_map = kind.startswith("Map")
            yield self._open
        elif kind.endswith("StateExited") and event["stateExitedEventDetails"]["name"] == self.state:
            yield from self._leave(at, has_failed=False)

    def _leave(self, at: datetime, *, has_failed: bool) -> Iterator[Left]:
        if self._open:
            left = Left(state=self._open.state, since=self._open.at, at=at, has_failed=has_failed)
            self._open, self._is_in_map = None, False
            yield left
