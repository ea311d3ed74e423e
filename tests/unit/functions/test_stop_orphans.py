"""stop_orphans: a job whose execution has ended is stopped; nobody else's job ever is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.stop_orphans import app
from functions.stop_orphans.stop import Round, StopOrphans
from lehr.aws.executions import StepFunctionsExecutions
from lehr.aws.jobs import BatchJobs, SageMakerJobs
from lehr.contracts.registry import RunRecord
from lehr.errors import OrphanError
from lehr.ports import ExecutionEnd
from tests.fakes import InMemoryRegistry

THEN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
PREFIX = "lehr-0a1b2c3d-"
LATER = THEN + timedelta(minutes=5)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Stop")


class Pages:
    """A client's paginator over one answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def paginate(self, **query: Any) -> Iterator[dict[str, Any]]:
        yield self._answer(query)


class SageMaker:
    """Training jobs by name; `refusals` answer the next stops."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.stopped: list[str] = []
        self.refusals: dict[str, ClientError] = {}

    def add(self, name: str, project: str = "mnist", run: str = "r1") -> None:
        self.jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobStatus": "InProgress",
            "CreationTime": THEN,
            "Environment": {"LEHR_PROJECT": project, "LEHR_RUN": run},
        }

    def get_paginator(self, _: str) -> Pages:
        return Pages(
            lambda query: {
                "TrainingJobSummaries": [
                    {"TrainingJobName": name} for name in self.jobs if query["NameContains"] in name
                ]
            }
        )

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        return self.jobs[TrainingJobName]

    def stop_training_job(self, *, TrainingJobName: str) -> None:
        if TrainingJobName in self.refusals:
            raise self.refusals[TrainingJobName]
        self.stopped.append(TrainingJobName)


class Batch:
    """Two queues, of which one is ours."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.queues: dict[str, list[str]] = {"lehr-training": [], "other-training": []}
        self.ended: list[tuple[str, str]] = []

    def add(self, queue: str, job_id: str, name: str, tags: dict[str, str]) -> None:
        created = round(THEN.timestamp() * 1000)
        self.jobs[job_id] = {"jobId": job_id, "jobName": name, "tags": tags, "createdAt": created}
        self.queues[queue].append(job_id)

    def get_paginator(self, _: str) -> Pages:
        return Pages(
            lambda query: {
                "jobSummaryList": [
                    {"jobId": job, "jobName": self.jobs[job]["jobName"]}
                    for job in self.queues[query["jobQueue"]]
                    if query["jobStatus"] in {"RUNNABLE", "STARTING"}
                ]
            }
        )

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [self.jobs[job] for job in jobs]}

    def terminate_job(self, *, jobId: str, reason: str) -> None:
        self.ended.append((jobId, reason))


class World:
    def __init__(self) -> None:
        self.sagemaker, self.batch = SageMaker(), Batch()
        self.ends: dict[str, ExecutionEnd] = {}
        self.registry = InMemoryRegistry()
        self.registry.add_run(
            RunRecord(
                project="mnist",
                run="r1",
                status="running",
                started_at="2026-01-31T12:00:00.000Z",
                execution_arn="arn",
                code_sha="c0de",
                fingerprint="f",
            )
        )
        self.stopper = StopOrphans(
            backends=(
                SageMakerJobs(self.sagemaker, PREFIX),
                BatchJobs(self.batch, ["lehr-training"], PREFIX),
            ),
            executions=self,
            registry=self.registry,
            logger=logging.getLogger("test"),
        )

    def ended_as(self, name: str) -> ExecutionEnd | None:
        return self.ends.get(name)

    def abort(self, name: str = "mnist-r1", at: datetime = LATER) -> None:
        self.ends[name] = ExecutionEnd(status="ABORTED", at=at)

    def status(self) -> str:
        record = self.registry.run("mnist", "r1")
        assert record is not None
        return f"{record.status}: {record.reason}"


@pytest.fixture
def world() -> World:
    return World()


def test_a_job_whose_execution_was_stopped_is_stopped_and_its_run_ended(world: World) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    world.abort()
    found = world.stopper.look()
    assert found == Round(seen=1, stopped=["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"], failed=[])
    assert world.sagemaker.stopped == ["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"]
    assert world.status().startswith("failed: the execution ended as ABORTED; its training job")


def test_a_job_of_an_execution_that_goes_on_is_left_alone(world: World) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    assert world.stopper.look() == Round(seen=1, stopped=[], failed=[])
    assert world.status() == "running: "


@pytest.mark.parametrize(
    "name", ["lehr-99999999-mnist-r1-0-a0r0d0", "their-lehr-0a1b2c3d-mnist-r1", "lehr-mnist-r1-0-a0r0d0"]
)
def test_a_job_of_another_stack_is_left_alone(world: World, name: str) -> None:
    world.sagemaker.add(name)
    world.batch.add("lehr-training", "id-1", name, {"lehr:project": "mnist", "lehr:run": "r1"})
    world.abort()
    assert world.stopper.look() == Round(seen=0, stopped=[], failed=[])
    assert not world.sagemaker.stopped
    assert not world.batch.ended


def test_a_job_that_is_younger_than_the_end_belongs_to_a_resume(world: World) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d1")
    world.abort(at=THEN - timedelta(seconds=1))
    assert not world.stopper.look().stopped


def test_a_job_that_has_outlived_the_execution_of_a_resume_is_stopped(world: World) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d2")
    world.abort(at=THEN - timedelta(seconds=3))
    world.abort("mnist-r1-m1", at=THEN - timedelta(seconds=2))
    assert not world.stopper.look().stopped
    world.abort("mnist-r1-m2")
    assert world.stopper.look().stopped == ["lehr-0a1b2c3d-mnist-r1-0-a0r0d2"]


def test_a_job_that_ended_meanwhile_counts_as_nothing_stopped(world: World) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    world.sagemaker.refusals["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"] = refused("ValidationException")
    world.abort()
    assert world.stopper.look() == Round(seen=1, stopped=[], failed=[])


def test_a_job_that_cannot_be_stopped_does_not_hold_up_the_others(world: World) -> None:
    for trial in (0, 1):
        world.sagemaker.add(f"lehr-0a1b2c3d-mnist-r1-{trial}-a0r0d0")
    world.sagemaker.refusals["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"] = refused("AccessDeniedException")
    world.abort()
    found = world.stopper.look()
    assert (found.stopped, found.failed) == (
        ["lehr-0a1b2c3d-mnist-r1-1-a0r0d0"],
        ["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"],
    )


def test_a_run_that_was_ended_already_keeps_its_reason(world: World) -> None:
    world.registry.end_run("mnist", "r1", status="failed", reason="stopped by a person")
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    world.abort()
    world.stopper.look()
    assert world.status() == "failed: stopped by a person"


def test_a_batch_job_is_stopped_once_though_it_moved_on_while_it_was_looked_for(world: World) -> None:
    tags = {"lehr:project": "mnist", "lehr:run": "r1"}
    world.batch.add("lehr-training", "id-1", "lehr-0a1b2c3d-mnist-r1-0-a0r0d0", tags)
    world.batch.add("lehr-training", "id-2", "lehr-0a1b2c3d-mnist-r1-0-a0r0d0", {})
    world.batch.add("lehr-training", "id-3", "theirs", tags)
    world.batch.add("other-training", "id-4", "lehr-0a1b2c3d-mnist-r1-0-a0r0d0", tags)
    world.abort()
    assert world.stopper.look().stopped == ["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"]
    assert [job for job, _ in world.batch.ended] == ["id-1"]
    assert "ended as ABORTED" in world.batch.ended[0][1]


@pytest.mark.parametrize(("queues", "backends"), [("none", []), ("arn:a arn:b", ["arn:a", "arn:b"])])
def test_a_stack_without_batch_has_no_queues(
    queues: str, backends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def open_running_jobs(*given: Any) -> tuple[()]:
        opened.append(given)
        return ()

    monkeypatch.setattr("lehr.aws.connect.open_running_jobs", open_running_jobs)
    environment = {
        "JOB_PREFIX": PREFIX,
        "REGISTRY_TABLE": "registry",
        "STATE_MACHINE_ARN": "arn:aws:states:r:1:stateMachine:m",
        "JOB_QUEUES": queues,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app.stopper.cache_clear()
    try:
        app.stopper()
    finally:
        app.stopper.cache_clear()
    assert opened == [(PREFIX, backends)]


class Context:
    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "x"


def test_the_handler_counts_what_it_stopped_and_is_silent_when_there_was_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "stopper", lambda: world.stopper)
    assert app.handler({}, Context()) == {"seen": 0, "stopped": [], "failed": []}
    assert "OrphansStopped" not in capsys.readouterr().out
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    world.abort()
    app.handler({}, Context())
    lines = [line for line in capsys.readouterr().out.splitlines() if "OrphansStopped" in line]
    assert json.loads(lines[0])["OrphansStopped"] == [1.0]


def test_the_handler_fails_loudly_while_a_job_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sagemaker.add("lehr-0a1b2c3d-mnist-r1-0-a0r0d0")
    world.sagemaker.refusals["lehr-0a1b2c3d-mnist-r1-0-a0r0d0"] = refused("AccessDeniedException")
    world.abort()
    monkeypatch.setattr(app, "stopper", lambda: world.stopper)
    with pytest.raises(OrphanError, match="still running: lehr-0a1b2c3d-mnist-r1-0-a0r0d0"):
        app.handler({}, Context())


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ({"status": "RUNNING"}, None),
        ({"status": "PENDING_REDRIVE", "stopDate": THEN}, None),
        ({"status": "TIMED_OUT", "stopDate": THEN}, ExecutionEnd(status="TIMED_OUT", at=THEN)),
        (refused("ExecutionDoesNotExist"), None),
    ],
)
def test_an_execution_has_ended_only_if_it_is_known_to_have(answer: Any, end: ExecutionEnd | None) -> None:
    class Client:
        def describe_execution(self, *, executionArn: str) -> Any:
            assert executionArn == "arn:aws:states:r:1:execution:m:mnist-r1"
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert StepFunctionsExecutions("arn:aws:states:r:1:stateMachine:m", Client()).ended_as("mnist-r1") == end
