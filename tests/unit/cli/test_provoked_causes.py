"""Ends of a run that no state of it could record: what `lehr why` makes of what Step Functions says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from lehr.contracts.registry import RunRecord
from lehr_cli import watch
from lehr_cli.explaining import explain_run
from lehr_cli.output import Output
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

ARN = "arn:aws:states:eu-west-1:123456789012:execution:lehr-retrain:mnist-r1"
API = "https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html"
ERRORS = "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


class Executions:
    """One execution, in TrainTrials, that has ended as `described` says."""

    def __init__(self, **described: str) -> None:
        self.described: dict[str, Any] = {"status": "RUNNING", **described}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        return self.described

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:
        self.described = {"status": "ABORTED", "error": error, "cause": cause}

    def get_execution_history(self, **_: Any) -> dict[str, Any]:
        entered = {"stateEnteredEventDetails": {"name": "TrainTrials"}}
        return {"events": [{"id": 1, "type": "MapStateEntered", "timestamp": BEGIN} | entered]}


def stack_of(executions: Executions) -> Any:
    registry = InMemoryRegistry()
    registry.run_records["mnist", "r1"] = RunRecord(
        project="mnist",
        run="r1",
        status="running",
        started_at="2026-11-23T00:00:00+00:00",
        execution_arn=ARN,
        code_sha="c",
        fingerprint="f",
    )
    return SimpleNamespace(
        executions=executions,
        registry=registry,
        artifacts=InMemoryObjectStore("artifacts"),
        projects=lambda: ["mnist"],
    )


def cause_of(stack: Any) -> str:
    return explain_run(stack, stack.registry.run("mnist", "r1")).cause


def test_a_run_that_lehr_stop_has_stopped_is_explained() -> None:
    stack = stack_of(Executions())
    invocation = SimpleNamespace(stack=stack, out=Output(is_json=False))
    watch.stop.__wrapped__(invocation, "mnist")  # type: ignore[attr-defined]
    assert stack.registry.run("mnist", "r1").status == "failed"
    assert cause_of(stack) == "stopped-by-a-person"


PROVOKED = {"stopped-by-a-person"}
# Of an execution that was stopped in the console, error and cause are what was typed there, or nothing.
DOCUMENTED = [
    ("stopped-by-a-person", API, Executions(status="ABORTED")),
    ("run-took-too-long", API, Executions(status="TIMED_OUT")),
    (
        "state-too-large",
        ERRORS,
        Executions(
            status="FAILED",
            error="States.DataLimitExceeded",
            cause="The state/task 'TrainTrials' returned a result with a size exceeding the maximum number of bytes "
            "service limit.",
        ),
    ),
    (
        "state-machine-defect",
        ERRORS,
        Executions(status="FAILED", error="States.Runtime", cause="no such path"),
    ),
]


@pytest.mark.parametrize(("name", "source", "executions"), DOCUMENTED)
def test_an_end_that_step_functions_alone_has_seen_is_explained(
    name: str, source: str, executions: Executions
) -> None:
    assert source.startswith("https://docs.aws.amazon.com/")
    assert cause_of(stack_of(executions)) == name
