"""Why a training job does not train yet: asked after a while, told when it changes, dropped at the first epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_cli.events import Epoch, ExecutionEnded, TrainingJobStarted, TrainingWaits
from lehr_cli.follow import follow
from lehr_cli.history import Timeline
from lehr_cli.stack import Stack
from lehr_cli.target import Target
from lehr_cli.training_log import TrainingLog
from lehr_cli.waiting import TrainingWait

JOB = "lehr-mnist-r1-0-a0r0d0"
AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Backend:
    """A session whose SageMaker and Batch answer what the test says, and count how often they are asked."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.asked: list[dict[str, Any]] = []

    def client(self, service: str, **_: Any) -> Backend:
        return self

    def _answer(self, request: dict[str, Any]) -> Any:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def describe_training_job(self, **request: Any) -> Any:
        return self._answer(request)

    def describe_jobs(self, **request: Any) -> Any:
        return self._answer(request)


class World:
    def __init__(self, backend: str = "sagemaker", handle: str = "") -> None:
        self.clock, self.backend = Clock(), Backend()
        started = TrainingJobStarted(job=JOB, backend=backend, handle=handle)
        target = Target(session=self.backend, region="us-east-1")
        self.wait = TrainingWait(target, started, self.clock)

    def after(self, seconds: float) -> list[tuple[str, str, float]]:
        """What is told when so many seconds have gone by."""
        self.clock.now += seconds
        return [(event.status, event.message, event.seconds) for event in self.wait.new_reason()]

    def sagemaker(self, status: str, message: str) -> None:
        transitions = [{"Status": "Starting", "StatusMessage": "old"}, {"StatusMessage": message}]
        self.backend.answer = {"SecondaryStatus": status, "SecondaryStatusTransitions": transitions}


def test_nobody_is_asked_while_a_job_is_young() -> None:
    world = World()
    assert world.after(14.9) == []
    assert not world.backend.asked


def test_a_job_without_epochs_says_why_and_again_only_when_that_changes() -> None:
    world = World()
    world.sagemaker("Pending", "Insufficient capacity")
    assert world.after(16) == [("Pending", "Insufficient capacity", 16.0)]
    assert world.after(6) == []
    world.sagemaker("Downloading", "Downloading the training image")
    assert world.after(6) == [("Downloading", "Downloading the training image", 28.0)]


def test_the_backend_is_asked_every_few_seconds_at_most() -> None:
    world = World()
    world.sagemaker("Pending", "x")
    world.after(16)
    for _ in range(10):
        world.after(0.3)
    assert len(world.backend.asked) == 1


def test_after_the_first_epoch_there_is_nothing_to_explain() -> None:
    world = World()
    world.sagemaker("Training", "x")
    world.wait.end()
    assert world.after(60) == []
    assert not world.backend.asked


def test_a_refused_question_is_no_reason_to_stop_watching() -> None:
    world = World()
    world.backend.answer = ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeTrainingJob")
    assert world.after(16) == []


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (
            {"status": "RUNNABLE", "statusReason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"},
            ("RUNNABLE", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", 16.0),
        ),
        (
            {"status": "RUNNABLE"},
            (
                "RUNNABLE",
                "waiting for a machine: quota, capacity or the limits of the compute environment",
                16.0,
            ),
        ),
        ({"status": "STARTING"}, ("STARTING", "", 16.0)),
    ],
)
def test_a_batch_job_is_asked_about_by_its_id(job: dict[str, str], told: tuple[str, str, float]) -> None:
    world = World("batch", "id-1")
    world.backend.answer = {"jobs": [job]}
    assert world.after(16) == [told]
    assert world.backend.asked == [{"jobs": ["id-1"]}]


def test_a_batch_job_that_is_not_known_yet_is_no_line() -> None:
    world = World("batch", "id-1")
    world.backend.answer = {"jobs": []}
    assert world.after(16) == []


def test_the_history_names_the_id_of_a_batch_job() -> None:
    details = {"resourceType": "batch", "output": json.dumps({"JobName": JOB, "JobId": "id-1"})}
    event = {"type": "TaskSubmitted", "timestamp": AT, "taskSubmittedEventDetails": details}
    assert list(Timeline().read([event])) == [
        TrainingJobStarted(job=JOB, backend="batch", handle="id-1"),
    ]
    other = event | {"taskSubmittedEventDetails": details | {"resourceType": "sagemaker"}}
    assert list(Timeline().read([other])) == []


class Executions:
    """A history that grows by one event with each look."""

    def __init__(self, *kinds: tuple[str, dict[str, Any]]) -> None:
        self._events = [
            {"id": number, "type": kind, "timestamp": AT, **details}
            for number, (kind, details) in enumerate(kinds, 1)
        ]
        self._looks = 0

    def get_execution_history(self, **_: Any) -> dict[str, Any]:
        self._looks += 1
        return {"events": self._events[: self._looks]}


def test_watching_tells_the_wait_between_the_start_of_a_job_and_its_first_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lehr_cli.waiting.PATIENCE_S", 0.0)
    monkeypatch.setattr("lehr_cli.waiting._LOOK_S", 0.0)
    parameters = json.dumps({"TrainingJobName": JOB})
    scheduled = {"taskScheduledEventDetails": {"resourceType": "sagemaker", "parameters": parameters}}
    ended: dict[str, Any] = {"executionSucceededEventDetails": {}}
    steps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("TaskScheduled", scheduled),
        ("Other", {}),
        ("Other", {}),
        ("ExecutionSucceeded", ended),
    )
    lines = iter([[], ["epoch 1/1 loss=1 accuracy=1 samples_per_second=1 seconds=1"], []])
    backend = Backend()
    backend.answer = {"SecondaryStatus": "Pending", "SecondaryStatusTransitions": [{"StatusMessage": "x"}]}
    stack = Stack(Target(session=backend, region="us-east-1"), "lehr", {})
    stack.__dict__["executions"] = Executions(*steps)
    monkeypatch.setattr("lehr_cli.training_log.TrainingLog.new_lines", lambda self: iter(next(lines, [])))
    stack.__dict__["logs"] = None
    seen = [event for event in follow(stack, "mnist", "r1", "arn", sleep=lambda _: None) if event]
    assert [type(event) for event in seen] == [TrainingJobStarted, TrainingWaits, Epoch, ExecutionEnded]
    assert len(backend.asked) == 1


def test_the_logs_of_a_round_are_read_no_more_when_the_next_one_trains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begins(job: str) -> list[tuple[str, dict[str, Any]]]:
        details = {"resourceType": "sagemaker", "parameters": json.dumps({"TrainingJobName": job})}
        entered = {"stateEnteredEventDetails": {"name": "TrainTrials"}}
        return [("MapStateEntered", entered), ("TaskScheduled", {"taskScheduledEventDetails": details})]

    left = ("MapStateExited", {"stateExitedEventDetails": {"name": "TrainTrials"}})
    ended: dict[str, Any] = {"executionSucceededEventDetails": {}}
    steps = [*begins("first"), left, *begins("second"), ("Other", {}), ("ExecutionSucceeded", ended)]
    stack = Stack(Target(session=Backend(), region="us-east-1"), "lehr", {})
    stack.__dict__["executions"] = Executions(*steps)
    stack.__dict__["logs"] = None
    read: list[str] = []

    def new_lines(log: TrainingLog) -> Iterator[str]:
        read.append(log.job)
        yield from ()

    monkeypatch.setattr(TrainingLog, "new_lines", new_lines)
    list(follow(stack, "mnist", "r1", "arn", sleep=lambda _: None))
    assert "first" in read
    assert read[-2:] == ["second", "second"]
    assert "first" not in read[read.index("second") :]
