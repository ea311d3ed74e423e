"""Following a run to its end: the execution history, the training logs and the decision, as one stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from botocore.exceptions import ClientError

from lehr import layout
from lehr.contracts.evaluation import Decision
from lehr_cli.earlier import Earlier
from lehr_cli.events import (
    Decided,
    Epoch,
    MapProgress,
    MapRunStarted,
    RunEvent,
    StateEntered,
    StateExited,
    TrainingJobStarted,
)
from lehr_cli.history import HistoryReader, Timeline
from lehr_cli.stack import Stack
from lehr_cli.training_log import TrainingLog
from lehr_cli.waiting import TrainingWait

JUDGING_STATE, TRAINING_STATE = "JudgeModel", "TrainTrials"


def follow(
    stack: Stack,
    project: str,
    run: str,
    execution_arn: str,
    *,
    earlier: Sequence[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[RunEvent | None]:
    """Everything that happened and happens, until the execution ends; None each time it has waited.

    Of `earlier` executions, which the run has been resumed from, it is the states that they have left.
    """
    before = Earlier(stack.executions, earlier)
    yield from before.events()
    history = HistoryReader(stack.executions, execution_arn)
    timeline = Timeline()
    is_begun = False
    logs: dict[str, TrainingLog] = {}
    waits: dict[str, TrainingWait] = {}
    map_runs: dict[str, _MapRun] = {}
    while True:
        events = list(timeline.read(history.new_events()))
        if timeline.started and not is_begun:
            is_begun = True
            yield from before.resumed(timeline)
        for event in events:
            match event:
                case TrainingJobStarted():
                    logs.setdefault(event.job, TrainingLog(stack.logs, event.job))
                    waits.setdefault(event.job, TrainingWait(stack.target, event))
                case MapRunStarted():
                    map_runs[event.state] = _MapRun(stack, event)
                case StateEntered() if event.state == TRAINING_STATE:
                    # Another round: nobody writes into the logs of the one before any more.
                    logs.clear()
                case StateExited():
                    # What a state has left behind comes before its end, as it did in truth.
                    if event.state in map_runs:
                        yield from map_runs.pop(event.state).new_progress()
                    waits.clear()
                    for log in logs.values():
                        yield from log.new_epochs()
            yield event
            if isinstance(event, StateExited) and event.state == JUDGING_STATE:
                yield from _decision(stack, project, run)
        if timeline.ended:
            return
        for log in logs.values():
            yield from _trained(log.new_epochs(), waits)
        for wait in waits.values():
            yield from wait.new_reason()
        for map_run in map_runs.values():
            yield from map_run.new_progress()
        yield None
        sleep(stack.target.poll_s)


def _trained(epochs: Iterator[Epoch], waits: dict[str, TrainingWait]) -> Iterator[Epoch]:
    """The epochs as they come; a job that has one waits for nothing any more."""
    for epoch in epochs:
        if epoch.job in waits:
            waits[epoch.job].end()
        yield epoch


class _MapRun:
    """Counts of a distributed Map, told when they change."""

    def __init__(self, stack: Stack, started: MapRunStarted) -> None:
        self._client, self._started = stack.executions, started
        self._last: MapProgress | None = None

    def new_progress(self) -> Iterator[MapProgress]:
        try:
            counts = self._client.describe_map_run(mapRunArn=self._started.map_run_arn)["itemCounts"]
        except ClientError:
            # The counts are a comfort, no part of the run: watching goes on without them.
            return
        seen = MapProgress(
            state=self._started.state,
            done=counts["succeeded"],
            failed=counts["failed"],
            of=counts["total"] or None,
        )
        if seen != self._last and seen.of:
            self._last = seen
            yield seen


def _decision(stack: Stack, project: str, run: str) -> Iterator[Decided]:
    try:
        body = stack.artifacts.get(layout.decision_key(project, run))
    except KeyError:
        return
    yield Decided(decision=Decision.from_json(body))
