"""record_failure: one sentence that a person can act on, out of JSON in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from functions.record_failure.explain import RecordFailure, batch_stream, explain, training_job
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import Failure, FailureRequest
from lehr.ports import StoredObject
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

JOB_FAILED = json.dumps(
    {
        "TrainingJobName": "lehr-mnist-r1-0-0",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": "AlgorithmError: ValueError: no such layer, exit code: 1",
    }
)


class Logs:
    def tail(self, job: str, lines: int) -> list[str]:
        return [f"last line of {job}"]

    def tail_of_function(self, group: str, stream: str, lines: int) -> list[str]:
        return [f"{group} {stream}", "FAILED: no such layer"][-lines:]

    def tail_of_batch(self, stream: str, lines: int) -> list[str]:
        return [f"a line of {stream}", "FAILED: net.py:2 in build: no such layer"]

    def url(self, job: str) -> str:
        return f"https://console/{job}"


@pytest.mark.parametrize(
    ("error", "cause", "sentence"),
    [
        ("States.TaskFailed", JOB_FAILED, "AlgorithmError: ValueError: no such layer, exit code: 1"),
        (
            "States.TaskFailed",
            json.dumps({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}),
            "the training job ended as Stopped (MaxRuntimeExceeded)",
        ),
        (
            "MissingDataError",
            json.dumps({"errorMessage": "a.gz not found", "errorType": "X"}),
            "a.gz not found",
        ),
        ("X", '{"errorMessage": "s3://a/b: \\"x\\" is no IDX fi', 's3://a/b: "x" is no IDX fi …'),
        ("X", '{"errorMessage": "too few rows", "errorType": "Insuff', "too few rows"),
        ("States.Timeout", "", "States.Timeout"),
        ("States.Runtime", "plain words", "plain words"),
        ("X", "[1, 2]", "[1, 2]"),
    ],
)
def test_the_reason_is_dug_out_of_the_cause(error: str, cause: str, sentence: str) -> None:
    assert explain(error, cause) == sentence


BATCH_FAILED = json.dumps(
    {
        "JobName": "lehr-mnist-r1-0-a0r0d0",
        "JobQueue": "queue",
        "Status": "FAILED",
        "StatusReason": "Essential container in task exited",
        "Container": {"ExitCode": 1, "LogStreamName": "lehr/default/1234"},
    }
)


def test_a_batch_job_knows_only_its_exit_code_so_the_log_says_why() -> None:
    tail = Logs().tail_of_batch("s", 20)
    assert explain("States.TaskFailed", BATCH_FAILED, tail) == (
        "net.py:2 in build: no such layer (Essential container in task exited, exit code: 1)"
    )
    assert explain("States.TaskFailed", BATCH_FAILED) == "Essential container in task exited, exit code: 1"
    assert batch_stream(BATCH_FAILED) == "lehr/default/1234"
    assert batch_stream(JOB_FAILED) == ""


def test_of_a_job_of_several_nodes_the_main_node_of_the_last_attempt_says_why() -> None:
    several = json.loads(BATCH_FAILED) | {
        "Container": {},
        "Attempts": [
            {"Container": {"ExitCode": 137, "LogStreamName": "lehr/default/1"}},
            {"Container": {"ExitCode": 1, "LogStreamName": "lehr/default/2"}},
        ],
    }
    assert batch_stream(json.dumps(several)) == "lehr/default/2"
    assert explain("States.TaskFailed", json.dumps(several)).endswith("exit code: 1")
    del several["Container"], several["Attempts"]
    assert batch_stream(json.dumps(several)) == ""


def test_the_job_is_found_also_in_a_cause_that_was_cut() -> None:
    assert training_job(JOB_FAILED) == "lehr-mnist-r1-0-0"
    assert training_job(JOB_FAILED[:60]) == "lehr-mnist-r1-0-0"
    assert training_job("no job") == ""


def test_what_cannot_be_looked_up_hides_no_failure() -> None:
    class Locked(InMemoryObjectStore):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            raise PermissionError(prefix)

    recorder = RecordFailure(artifacts=Locked("artifacts"), registry=InMemoryRegistry(), logs=Logs())
    request = FailureRequest(project="mnist", run="r1", state="TrainTrials", error="E", cause=JOB_FAILED)
    told = recorder.record(request).explanation
    assert told is not None
    assert told.kept == ["what is kept cannot be looked up now"]


def test_the_failure_carries_the_tail_of_the_log_and_ends_the_run() -> None:
    store, registry = InMemoryObjectStore("artifacts"), InMemoryRegistry()
    registry.add_run(
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
    recorder = RecordFailure(artifacts=store, registry=registry, logs=Logs())
    recorder.record(
        FailureRequest(
            project="mnist", run="r1", state="TrainTrials", error="States.TaskFailed", cause=JOB_FAILED
        )
    )
    failure = Failure.from_json(store.objects["runs/mnist/r1/failure.json"])
    assert failure.log_tail == ["last line of lehr-mnist-r1-0-0"]
    run = registry.run("mnist", "r1")
    assert run is not None
    assert (run.status, run.reason) == ("failed", f"TrainTrials: {failure.reason}")
