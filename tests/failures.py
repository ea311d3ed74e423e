"""What executions, jobs and functions say when they fail: failures.json has a case for each cause of the catalogue.

Wordings of AWS are those of its documentation and of public reports, wordings of Lehr those of its code; accounts and
names are made up. Tests that provoke a cause, through the code or in the form of AWS, have it explained as in a run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from functions.record_failure.explain import RecordFailure
from lehr.causes.rule import Symptoms
from lehr.contracts.explanation import Explanation
from lehr.contracts.workflow import FailureRequest
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

ANSWERS = {"project": "mnist", "run": "r1"}


def seen(state: str = "", error: str = "", reason: str = "", *log: str) -> Symptoms:
    return Symptoms(state=state, error=error, reason=reason, log=log, answers=ANSWERS)


class _Logs:
    """Every log has the same end."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)

    def tail(self, job: str, lines: int) -> list[str]:
        return self._lines

    tail_of_batch = tail

    def tail_of_function(self, group: str, stream: str, lines: int) -> list[str]:
        return self._lines

    def url(self, job: str) -> str:
        return ""


def explained(state: str, error: str, cause: str, log: Sequence[str] = ()) -> Explanation:
    """What RecordFailure writes of a state that failed with an error and a cause as Step Functions has them."""
    recorder = RecordFailure(
        artifacts=InMemoryObjectStore("artifacts"), registry=InMemoryRegistry(), logs=_Logs(log)
    )
    failure = recorder.record(
        FailureRequest(project="mnist", run="r1", state=state, error=error, cause=cause)
    )
    assert failure.explanation is not None
    assert failure.summary.startswith(f"Cause: {failure.explanation.cause}.")
    return failure.explanation


def raised(state: str, fault: BaseException) -> Explanation:
    """The same of a function that raised `fault`: error and cause are those that Lambda gives."""
    cause = {"errorMessage": str(fault), "errorType": type(fault).__name__, "stackTrace": ["  File …"]}
    return explained(state, type(fault).__name__, json.dumps(cause))


def trained(reason: str, *log: str, secondary: str = "Failed") -> Explanation:
    """The same of a SageMaker job that gave `reason`, or, without one, of one that ended in that secondary status."""
    described = {
        "TrainingJobName": "lehr-mnist-r1-0-a0r0d0",
        "TrainingJobStatus": "Failed" if secondary == "Failed" else "Stopped",
        "SecondaryStatus": secondary,
    } | ({"FailureReason": reason} if reason else {})
    return explained("TrainTrials", "States.TaskFailed", json.dumps(described), log)


def batch(reason: str, *log: str, exit_code: int | None = None) -> Explanation:
    """The same of a Batch job whose only attempt ended for `reason`."""
    container = {"LogStreamName": "lehr/default/1"} | ({} if exit_code is None else {"ExitCode": exit_code})
    described = {
        "JobName": "lehr-mnist-r1-0-a0r0d0",
        "JobQueue": "arn:aws:batch:eu-west-1:123456789012:job-queue/lehr-spot",
        "Status": "FAILED",
        "StatusReason": reason,
        "Attempts": [{"Container": container, "StatusReason": reason}],
        "Container": container,
    }
    return explained("TrainTrials", "States.TaskFailed", json.dumps(described), log)


def _read() -> list[tuple[str, Symptoms]]:
    cases = json.loads(Path(__file__).with_suffix(".json").read_text())
    return [
        (case["cause"], seen(case["state"], case["error"], case["reason"], *case.get("log", ())))
        for case in cases
    ]


CASES = _read()
