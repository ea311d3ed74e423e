"""From the execution history's events to what happened: states with their times, items, training jobs.

The machine has no Parallel at its top, so whatever begins while a Map is open lies within that Map. Items
of a distributed Map are executions of their own and do not appear here at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lehr_cli.events import (
    ExecutionEnded,
    MapProgress,
    MapRunStarted,
    RunEvent,
    StateEntered,
    StateExited,
    TrainingJobStarted,
)

PAGE_EVENTS = 1000
CAUGHT_STATE = "TrialFailed"  # where an item of TrainTrials goes on after its training has failed
_ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}


class HistoryReader:
    """Fetches each event of one execution once, although the API can only be asked for whole pages."""

    def __init__(self, client: Any, execution_arn: str) -> None:
        self._client, self._arn = client, execution_arn
        self._last_page: str | None = None
        self._seen = 0

    def new_events(self) -> Iterator[Mapping[str, Any]]:
        """The events since the last call, oldest first."""
        while True:
            query = {"nextToken": self._last_page} if self._last_page else {}
            page = self._client.get_execution_history(
                executionArn=self._arn, maxResults=PAGE_EVENTS, includeExecutionData=True, **query
            )
            for event in page["events"]:
                if event["id"] > self._seen:
                    self._seen = event["id"]
                    yield event
            if not page.get("nextToken"):
                return
            # The page that this token opens is the one that will have grown at the next look.
            self._last_page = page["nextToken"]


class Timeline:
    """Reads history events in order and tells what they mean. Pure: times come from the events."""

    def __init__(self) -> None:
        self.started: datetime | None = None
        self.ended: ExecutionEnded | None = None
        self._open: tuple[str, datetime, bool] | None = None
        self._items: int | None = None
        self._ended = self._failed = 0

    def read(self, events: Iterable[Mapping[str, Any]]) -> Iterator[RunEvent]:
        for event in events:
            yield from self._read(event)

    def _read(self, event: Mapping[str, Any]) -> Iterator[RunEvent]:
        kind, at = str(event["type"]), event["timestamp"]
        if kind == "ExecutionStarted":
            self.started = at
        elif kind in _ENDS:
            yield from self._close(at, has_failed=kind != "ExecutionSucceeded")
            self.ended = self._ending(kind, event, at)
            yield self.ended
        elif kind.endswith("StateEntered"):
            yield from self._entered(kind, event["stateEnteredEventDetails"]["name"], at)
        elif kind.endswith("StateExited"):
            if self._open and event["stateExitedEventDetails"]["name"] == self._open[0]:
                yield from self._close(at, has_failed=bool(self._failed) and self._failed == self._items)
        elif kind == "TaskScheduled":
            yield from _training_job(event["taskScheduledEventDetails"])
        elif self._open:
            yield from self._progress(kind, event)

    def _entered(self, kind: str, name: str, at: datetime) -> Iterator[RunEvent]:
        if self._open and self._open[2]:
            self._failed += name == CAUGHT_STATE
            return
        # A failing state has no exit of its own: its Catch enters the next one.
        yield from self._close(at, has_failed=True)
        self._open = (name, at, kind.startswith("Map"))
        self._items, self._ended, self._failed = None, 0, 0
        yield StateEntered(state=name, at=_text(at))

    def _close(self, at: datetime, *, has_failed: bool) -> Iterator[RunEvent]:
        if self._open:
            name, since, _ = self._open
            self._open = None
            yield StateExited(state=name, at=_text(at), seconds=_seconds(since, at), has_failed=has_failed)

    def _progress(self, kind: str, event: Mapping[str, Any]) -> Iterator[RunEvent]:
        assert self._open is not None
        state = self._open[0]
        if kind == "MapStateStarted":
            # A distributed Map says 0 here, before it has read its items.
            self._items = event["mapStateStartedEventDetails"].get("length") or None
        elif kind == "MapRunStarted":
            arn = event["mapRunStartedEventDetails"]["mapRunArn"]
            yield MapRunStarted(state=state, map_run_arn=arn)
            return
        elif kind == "MapIterationSucceeded":
            self._ended += 1
        elif kind in {"MapIterationFailed", "MapIterationAborted"}:
            self._ended += 1
            self._failed += 1
        elif kind in {"MapStateFailed", "MapStateAborted", "MapRunFailed"}:
            # The Map is over, but its exit never comes: what is entered next is outside it.
            self._open = (self._open[0], self._open[1], False)
            return
        else:
            return
        if self._items is not None:
            done = max(0, self._ended - self._failed)
            yield MapProgress(state=state, done=done, failed=self._failed, of=self._items)

    def _ending(self, kind: str, event: Mapping[str, Any], at: datetime) -> ExecutionEnded:
        details: Mapping[str, Any] = next(
            (value for name, value in event.items() if name.endswith("EventDetails")), {}
        )
        return ExecutionEnded(
            status=_ENDS[kind],
            seconds=_seconds(self.started or at, at),
            error=str(details.get("error", "")),
            cause=str(details.get("cause", "")),
        )


def _training_job(details: Mapping[str, Any]) -> Iterator[RunEvent]:
    """The job of a sagemaker:createTrainingJob task; its name is also the prefix of its log streams."""
    if details.get("resourceType") != "sagemaker":
        return
    try:
        yield TrainingJobStarted(job=str(json.loads(details["parameters"])["TrainingJobName"]))
    except (ValueError, KeyError, TypeError):
        return


def _seconds(since: datetime, until: datetime) -> float:
    return round((until - since).total_seconds(), 3)


def _text(at: datetime) -> str:
    return at.astimezone().isoformat(timespec="milliseconds")
