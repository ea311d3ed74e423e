"""A run that goes on, at one glance: its open state out of the history, and what the backends say of its jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lehr.causes.waits import JobSeen, RunSeen
from lehr.contracts.registry import RunRecord
from lehr_cli.events import MapProgress, MapRunStarted, SliceEnded, StateEntered, TrainingJobStarted
from lehr_cli.history import HistoryReader, Timeline
from lehr_cli.stack import Stack
from lehr_cli.training_log import TrainingLog
from lehr_cli.waiting import backend_says

MAX_JOBS = 5
_SLICES = "TrainSlice"


class Glance:
    """What the events say of the state that is open after the last of them. Pure."""

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._entered("", None)

    def _entered(self, state: str, since: datetime | None) -> None:
        self.state, self.since = state, since
        self.progress: MapProgress | None = None
        self.map_run_arn = self.last_error = ""
        self.jobs: dict[str, TrainingJobStarted] = {}
        self.slices: dict[str, SliceEnded] = {}
        self.is_in_slices = False

    def read(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            for seen in self._timeline.read([event]):
                match seen:
                    case StateEntered():
                        self._entered(seen.state, event["timestamp"])
                    case MapProgress():
                        self.progress = seen
                    case MapRunStarted():
                        self.map_run_arn = seen.map_run_arn
                    case TrainingJobStarted():
                        self.jobs[seen.job] = seen
                    case SliceEnded():
                        self.slices[seen.job] = seen
            self._read_raw(event)

    def _read_raw(self, event: Mapping[str, Any]) -> None:
        kind = str(event["type"])
        if kind == "TaskFailed":
            self.last_error = str(event["taskFailedEventDetails"].get("error", ""))
        elif kind == "TaskSucceeded":
            self.last_error = ""
        elif kind == "TaskStateEntered":
            self.is_in_slices = event["stateEnteredEventDetails"]["name"] == _SLICES


def look_at(stack: Stack, record: RunRecord) -> RunSeen:
    """Read the history of a running execution, and ask after the jobs of its open state."""
    glance = Glance()
    glance.read(HistoryReader(stack.executions, record.execution_arn).new_events())
    done, of = (glance.progress.done, glance.progress.of) if glance.progress else (0, None)
    if glance.map_run_arn:
        done, of = _map_run(stack, glance.map_run_arn)
    return RunSeen(
        project=record.project,
        run=record.run,
        state=glance.state,
        since=glance.since,
        now=datetime.now(UTC),
        done=done,
        of=of,
        last_error=glance.last_error,
        jobs=tuple(_jobs(stack, glance)),
    )


def _jobs(stack: Stack, glance: Glance) -> Iterable[JobSeen]:
    for started in list(glance.jobs.values())[-MAX_JOBS:]:
        try:
            status, message = backend_says(stack.target, started)
        except (ClientError, BotoCoreError) as fault:
            status, message = "", f"its backend does not say: {fault}"
        yield JobSeen(
            name=started.job, status=status, message=message, progress=_progress(stack, started.job)
        )
    for ended in glance.slices.values():
        progress = f"slice {ended.slice} ended at update {ended.update:,} after {ended.seconds} s"
        yield JobSeen(name=ended.job, status="Training", progress=progress)
    if glance.is_in_slices and not glance.slices:
        yield JobSeen(name="the training function", status="Training", message="its first slice")


def _progress(stack: Stack, job: str) -> str:
    try:
        epochs = deque(TrainingLog(stack.logs, job).new_epochs(), maxlen=1)
    except (ClientError, BotoCoreError):
        return ""
    return "".join(f"epoch {last.epoch} of {last.epochs}, loss {last.loss:.4f}" for last in epochs)


def _map_run(stack: Stack, arn: str) -> tuple[int, int | None]:
    try:
        counts = stack.executions.describe_map_run(mapRunArn=arn)["itemCounts"]
    except (ClientError, BotoCoreError):
        return 0, None
    return int(counts["succeeded"]) + int(counts["failed"]), int(counts["total"]) or None
