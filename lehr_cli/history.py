"""From the execution history's events to what happened: states with their times, items, training jobs.

Items of a distributed Map are executions of their own and do not appear here at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lehr.contracts.slices import SliceAnswer
from lehr.errors import ContractError
from lehr.history import EXECUTION_ENDS, Entered, Left, TopLevel
from lehr_cli.events import (
    ExecutionEnded,
    MapProgress,
    MapRunStarted,
    RunEvent,
    SliceEnded,
    StateEntered,
    StateExited,
    TrainingJobStarted,
)

PAGE_EVENTS = 1000
_COUNTED = {"MapStateStarted", "MapIterationSucceeded", "MapIterationFailed", "MapIterationAborted"}


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
        self.last: datetime | None = None
        self.ended: ExecutionEnded | None = None
        self._states = TopLevel()

    def read(self, events: Iterable[Mapping[str, Any]]) -> Iterator[RunEvent]:
        for event in events:
            yield from self._read(event)

    def _read(self, event: Mapping[str, Any]) -> Iterator[RunEvent]:
        kind, at = str(event["type"]), event["timestamp"]
        self.last = at
        for change in self._states.read(event):
            yield _changed(change)
        if kind == "ExecutionStarted":
            self.started = at
        elif kind in EXECUTION_ENDS:
            self.ended = self._ending(kind, event, at)
            yield self.ended
        elif kind == "TaskScheduled":
            yield from _training_job(event["taskScheduledEventDetails"])
        elif kind == "TaskSubmitted":
            yield from _batch_job(event["taskSubmittedEventDetails"])
        elif self._states.state:
            yield from self._progress(kind, event)
            if kind == "TaskSucceeded":
                yield from _slice(event["taskSucceededEventDetails"])

    def _progress(self, kind: str, event: Mapping[str, Any]) -> Iterator[RunEvent]:
        states = self._states
        if kind == "MapRunStarted":
            arn = event["mapRunStartedEventDetails"]["mapRunArn"]
            yield MapRunStarted(state=states.state, map_run_arn=arn)
        elif kind in _COUNTED and states.items is not None:
            done = max(0, states.items_ended - states.items_failed)
            yield MapProgress(state=states.state, done=done, failed=states.items_failed, of=states.items)

    def _ending(self, kind: str, event: Mapping[str, Any], at: datetime) -> ExecutionEnded:
        details: Mapping[str, Any] = next(
            (value for name, value in event.items() if name.endswith("EventDetails")), {}
        )
        return ExecutionEnded(
            status=EXECUTION_ENDS[kind],
            seconds=seconds_between(self.started or at, at),
            error=str(details.get("error", "")),
            cause=str(details.get("cause", "")),
        )


def _changed(change: Entered | Left) -> RunEvent:
    if isinstance(change, Entered):
        return StateEntered(state=change.state, at=local_time(change.at))
    return StateExited(
        state=change.state,
        at=local_time(change.at),
        seconds=round(change.seconds, 3),
        has_failed=change.has_failed,
    )


def _training_job(details: Mapping[str, Any]) -> Iterator[RunEvent]:
    """The job of a sagemaker:createTrainingJob task; its name is also the prefix of its log streams."""
    if details.get("resourceType") != "sagemaker":
        return
    try:
        yield TrainingJobStarted(job=str(json.loads(details["parameters"])["TrainingJobName"]))
    except (ValueError, KeyError, TypeError):
        return


def _batch_job(details: Mapping[str, Any]) -> Iterator[RunEvent]:
    """The job of a batch:submitJob task: Batch knows it by an id, which the answer to the submission has."""
    if details.get("resourceType") != "batch":
        return
    try:
        answer = json.loads(details["output"])
        yield TrainingJobStarted(job=str(answer["JobName"]), backend="batch", handle=str(answer["JobId"]))
    except (ValueError, KeyError, TypeError):
        return


def _slice(details: Mapping[str, Any]) -> Iterator[RunEvent]:
    """What the training function has answered; other functions' answers are none."""
    if details.get("resourceType") != "lambda":
        return
    try:
        answer = SliceAnswer.from_value(json.loads(details["output"])["Payload"])
    except (ValueError, KeyError, TypeError, ContractError):
        return
    yield SliceEnded(
        job=answer.job,
        status=answer.status,
        slice=answer.progress.slices,
        update=answer.progress.update,
        seconds=answer.progress.seconds,
    )


def seconds_between(since: datetime, until: datetime) -> float:
    return round((until - since).total_seconds(), 3)


def local_time(at: datetime) -> str:
    return at.astimezone().isoformat(timespec="milliseconds")
