"""`lehr why` against a stack of moto's: failed, stopped, running, decided and refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from lehr import layout
from lehr.causes.catalogue import look_up
from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.package import TRAINING_FILE
from lehr.contracts.registry import TriggerRecord, Turn
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import Failure
from lehr_cli.stack import Stack
from tests.failures import CASES
from tests.integration.cli.calls import documents, run
from tests.integration.cli.test_commands_against_a_stack import EXAMPLE, record
from tests.unit.functions.test_package_model import summary

HISTORIES = Path(__file__).parents[2] / "unit" / "cli" / "histories"


class Executions:
    """Step Functions with one execution: `described` of DescribeExecution, and a history of so many events."""

    def __init__(self, described: dict[str, Any], events: int) -> None:
        self._described, self._events = described, events

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        if not self._described:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return self._described

    def get_execution_history(self, **_: Any) -> dict[str, Any]:
        events = json.loads((HISTORIES / "aborted.json").read_text())[: self._events]
        return {"events": [e | {"timestamp": datetime.fromisoformat(e["timestamp"])} for e in events]}

    def describe_map_run(self, **_: Any) -> dict[str, Any]:
        return {"itemCounts": {"succeeded": 2, "failed": 0, "total": 8}}


@pytest.fixture
def execution(monkeypatch: pytest.MonkeyPatch) -> Any:
    def given(described: dict[str, Any], events: int = 4) -> None:
        monkeypatch.setattr(Stack, "executions", Executions(described, events))

    return given


@pytest.fixture
def pushed(stack: Any) -> Any:
    run("push", str(EXAMPLE))
    return stack


def explained(name: str | None = "aaa") -> dict[str, Any]:
    result = run("why", *([name] if name else []), "--json")
    assert result.exit_code == 0, result.stderr
    (document,) = documents(result)
    return document


def put(stack: Any, key: str, body: bytes) -> None:
    stack.s3.put_object(Bucket=stack.artifacts, Key=key, Body=body)


def failure(**more: Any) -> Failure:
    fields: dict[str, Any] = {
        "project": "mnist",
        "run": "aaa",
        "state": "TrainTrials",
        "error": "States.TaskFailed",
        "reason": "CapacityError: Unable to provision requested ML compute capacity.",
        "log_tail": [],
        "log_url": "",
    }
    return Failure(**fields | more)


def test_a_failure_is_told_as_it_was_recorded(pushed: Any) -> None:
    pushed.registry.add_run(record(status="failed", reason="TrainTrials: CapacityError"))
    told = look_up(dict(CASES)["quota-reached"], ["dataset version d1"])
    put(pushed, layout.failure_key("mnist", "aaa"), failure(explanation=told).to_json())
    put(pushed, layout.report_key("mnist", "aaa"), b"<!doctype html>")
    document = explained()
    assert (document["cause"], document["kept"]) == ("quota-reached", ["dataset version d1"])
    assert document["notices"] == []
    shown = run("why").stdout
    for words in (
        "run aaa of mnist failed",
        "quota-reached",
        "seen   reason",
        "kept   dataset version d1",
        "next   lehr doctor mnist",
    ):
        assert words in shown


def test_a_failure_of_an_older_release_is_looked_up_now(pushed: Any) -> None:
    pushed.registry.add_run(record(status="failed"))
    put(pushed, layout.failure_key("mnist", "aaa"), failure().to_json())
    document = explained()
    assert document["cause"] == "no-capacity"
    assert document["kept"] == ["the champion, if there is one, serves as before"]
    assert [one["cause"] for one in document["notices"]] == ["report-not-written"]


def test_a_run_that_was_resumed_and_then_stopped_is_not_told_by_its_first_failure(
    pushed: Any, execution: Any
) -> None:
    execution({"status": "ABORTED", "error": "Stopped", "cause": "stopped by a person"}, 16)
    put(pushed, layout.failure_key("mnist", "aaa"), failure().to_json())
    pushed.registry.add_run(record(status="failed", reason="stopped by a person", resumes=1))
    assert explained()["cause"] == "stopped-by-a-person"


def test_a_model_whose_training_ended_at_its_wall_says_so(pushed: Any) -> None:
    pushed.registry.add_run(record(status="promoted", model_version="v1"))
    put(pushed, layout.report_key("mnist", "aaa"), b"<!doctype html>")
    seen = msgspec.structs.replace(TrainingSummary.from_json(summary(0.9)), wall_update=77, best_epoch=1)
    put(pushed, layout.model_file_key("mnist", "v1", TRAINING_FILE), seen.to_json())
    (notice,) = explained()["notices"]
    assert (notice["cause"], notice["next"]) == (
        "ended-at-wall",
        ["lehr push FOLDER  # with a higher budget.stop_at_usd"],
    )
    assert "after update 77, in epoch" in notice["evidence"][0]["text"]


@pytest.mark.parametrize(
    ("described", "cause"),
    [
        ({"status": "ABORTED", "error": "Stopped", "cause": "stopped by a person"}, "stopped-by-a-person"),
        ({"status": "ABORTED"}, "stopped-by-a-person"),
        ({"status": "TIMED_OUT", "error": "States.Timeout"}, "run-took-too-long"),
        ({"status": "FAILED", "error": "States.DataLimitExceeded", "cause": "x"}, "state-too-large"),
        ({}, "unknown"),
    ],
)
def test_a_run_whose_end_nobody_recorded_is_told_by_its_execution(
    pushed: Any, execution: Any, described: dict[str, Any], cause: str
) -> None:
    execution(described, 16)
    pushed.registry.add_run(record(status="failed", reason="the execution was stopped"))
    assert explained()["cause"] == cause


def test_a_running_run_is_told_by_its_open_state(pushed: Any, execution: Any) -> None:
    execution({"status": "RUNNING"})
    pushed.registry.add_run(record())
    pushed.registry.take_turn(
        Turn(project="mnist", run="aaa", execution_arn="arn", number=1, waiting=["t1", "t2"]), after=None
    )
    document = explained()
    assert document["cause"] == "waiting-for-units"
    assert document["evidence"][1]["text"] == "2 of 8 have ended"
    (notice,) = document["notices"]
    assert notice["cause"] == "queued-behind-run"
    assert notice["evidence"][0]["text"].startswith("2 trigger(s) wait")


def test_a_record_whose_execution_has_ended_is_stale(pushed: Any, execution: Any) -> None:
    execution({"status": "ABORTED"}, 16)
    pushed.registry.add_run(record())
    document = explained()
    assert document["cause"] == "stopped-by-a-person"
    assert [one["cause"] for one in document["notices"]] == ["record-is-stale"]


def test_a_rejected_run_is_told_by_the_rules_it_did_not_meet(pushed: Any) -> None:
    pushed.registry.add_run(record(status="rejected", reason="accuracy: 0.9, required >= 0.975"))
    rule = RuleResult(rule="accuracy", required=">= 0.9750", observed="0.9000", passed=False)
    decision = Decision(verdict="reject", reason="r", rules=[rule])
    put(pushed, layout.decision_key("mnist", "aaa"), decision.to_json())
    document = explained()
    assert document["cause"] == "gate-refused"
    assert document["evidence"] == [{"source": "decision", "text": "accuracy: 0.9000, required >= 0.9750"}]


def test_a_refusal_after_the_last_run_is_what_a_project_is_asked_for(pushed: Any) -> None:
    pushed.registry.add_run(record(status="promoted"))
    refusal = TriggerRecord(
        project="mnist",
        trigger="drop-0001",
        outcome="refused",
        reason="s3://d/x: 60000 images but 10000 labels",
        error="MismatchedDataError",
        at="2026-01-01T11:00:00.000Z",
    )
    pushed.registry.set_refusal(refusal)
    assert explained("mnist")["cause"] == "promoted"
    pushed.registry.set_refusal(TriggerRecord(**refusal.to_value() | {"at": "2026-01-01T13:00:00.000Z"}))
    document = explained("mnist")
    assert (document["status"], document["cause"]) == ("refused", "pairs-disagree")
    assert explained("aaa")["cause"] == "promoted"


def test_a_project_that_nobody_pushed_is_told_by_its_refusal(stack: Any) -> None:
    assert run("why", "mnst").exit_code == 2
    stack.registry.set_refusal(
        TriggerRecord(
            project="mnst",
            trigger="t",
            outcome="refused",
            reason="no",
            error="UnknownProjectError",
            at="2026",
        )
    )
    assert explained("mnst")["cause"] == "project-unknown"
