"""Watching a run that was resumed: the executions before, each with its states and its seconds, then the last one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from lehr.contracts.registry import RunRecord
from lehr_cli import watch
from lehr_cli.earlier import earlier_executions
from lehr_cli.events import ExecutionEnded, RunEvent, RunResumed, StateExited
from lehr_cli.follow import follow
from lehr_cli.output import Output
from lehr_cli.stack import Stack
from lehr_cli.target import Target
from tests.fakes import InMemoryObjectStore
from tests.unit.cli.test_history import history

MACHINE = "arn:aws:states:eu-central-1:123456789012:execution:lehr-retrain"
FIRST, SECOND, THIRD = (f"{MACHINE}:mnist-r1{end}" for end in ("", "-m1", "-m2"))
RECORD = RunRecord(
    project="mnist",
    run="r1",
    status="promoted",
    started_at="2026-11-23T15:56:11+00:00",
    execution_arn=THIRD,
    code_sha="c",
    fingerprint="f",
    model_version="c0ffee",
    resumes=2,
)


class Executions:
    """Of a run that failed, was stopped, and ended two hours later."""

    def __init__(self, *gone: str, last: str = "promoted") -> None:
        later = [one | {"timestamp": one["timestamp"] + timedelta(hours=2)} for one in history(last)]
        self.histories = {FIRST: history("failed"), SECOND: history("aborted"), THIRD: later}
        for arn in gone:
            del self.histories[arn]

    def get_execution_history(self, *, executionArn: str, **_: Any) -> dict[str, Any]:
        if executionArn not in self.histories:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "GetExecutionHistory")
        return {"events": self.histories[executionArn]}

    def describe_map_run(self, **_: Any) -> dict[str, Any]:
        return {"itemCounts": {"succeeded": 1, "failed": 0, "total": 1}}


@pytest.fixture(autouse=True)
def no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(log: object) -> Iterator[str]:
        yield from ()

    monkeypatch.setattr("lehr_cli.training_log.TrainingLog.new_lines", none)


def stack_of(executions: Executions, record: RunRecord = RECORD) -> Stack:
    stack = Stack(Target(session=None, region="eu-central-1"), "lehr", {})
    stack.__dict__ |= {
        "executions": executions,
        "logs": None,
        "artifacts": InMemoryObjectStore("artifacts"),
        "registry": SimpleNamespace(run=lambda project, run: record),
    }
    return stack


def followed(executions: Executions) -> list[RunEvent]:
    stack, earlier = stack_of(executions), earlier_executions(RECORD, THIRD)
    return [one for one in follow(stack, "mnist", "r1", THIRD, earlier=earlier, sleep=lambda _: None) if one]


def test_the_states_of_all_executions_are_told_in_order_with_each_resume() -> None:
    events = followed(Executions())
    resumes = [one for one in events if isinstance(one, RunResumed)]
    assert [(one.number, one.ended, one.seconds, one.waited_s) for one in resumes] == [
        (1, "FAILED", 12.66, 54.191),
        (2, "ABORTED", 25.306, 6878.522),
    ]
    parts = [
        [one.state for one in events[first:last] if isinstance(one, StateExited)]
        for first, last in (
            (0, events.index(resumes[0])),
            (events.index(resumes[0]), events.index(resumes[1])),
            (events.index(resumes[1]), len(events)),
        )
    ]
    assert parts[0][:3] == parts[1] == parts[2][:3] == ["PrepareShards", "SealDataset", "TrainTrials"]
    assert (parts[0][-1], parts[2][-1]) == ("Failed", "Complete")
    ends = [one for one in events if isinstance(one, ExecutionEnded)]
    assert [one.status for one in ends] == ["SUCCEEDED"]
    assert events[-1] is ends[0]


def test_an_execution_that_is_gone_is_passed_over() -> None:
    events = followed(Executions(FIRST))
    first = events[0]
    assert isinstance(first, RunResumed)
    assert (first.number, first.seconds, first.waited_s, first.ended) == (1, None, None, "")
    second = next(one for one in events[1:] if isinstance(one, RunResumed))
    assert (second.number, second.seconds) == (2, 25.306)


def test_another_fault_than_that_is_none_to_pass_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetExecutionHistory")

    executions = Executions()
    monkeypatch.setattr(executions, "get_execution_history", refused)
    with pytest.raises(ClientError, match="AccessDenied"):
        followed(executions)


def test_a_run_that_was_never_resumed_has_none_before_and_neither_has_another_execution() -> None:
    fresh = msgspec.structs.replace(RECORD, resumes=0, execution_arn=FIRST)
    assert earlier_executions(fresh, FIRST) == []
    assert earlier_executions(None, FIRST) == []
    assert earlier_executions(RECORD, FIRST) == []
    assert earlier_executions(RECORD, THIRD) == [FIRST, SECOND]


def watched(capsys: pytest.CaptureFixture[str], *gone: str, is_json: bool = False) -> str:
    invocation: Any = SimpleNamespace(
        stack=stack_of(Executions(*gone)), out=Output(is_json=is_json), aftermath=""
    )
    watch.watch_to_the_end(invocation, "mnist", "r1", THIRD)
    return capsys.readouterr().out


def test_a_person_sees_where_the_run_was_resumed_and_what_it_took_in_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [" ".join(line.split()) for line in watched(capsys).splitlines()]
    marks = [line for line in lines if line.startswith("↻")]
    assert marks == [
        "↻ resumed after 54.2 s; before: failed after 12.7 s",
        "↻ resumed (2) after 1 h 54 min 38.5 s; before: stopped after 25.3 s",
    ]
    before = lines[: lines.index(marks[0])]
    assert before[:3] == ["✓ PrepareShards 1.5 s", "✓ SealDataset 0.5 s", "✗ TrainTrials 9.6 s"]
    assert lines[-1] == "model c0ffee is the champion now, after 1 min 45.0 s in 3 executions"
    assert not any("waits for a person" in line for line in before)


def test_a_history_that_is_gone_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert "↻ resumed; the history before is gone\n" in watched(capsys, FIRST)


def test_a_program_has_the_seconds_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in watched(capsys, is_json=True).splitlines()]
    resumed = [line for line in lines if line["event"] == "run_resumed"]
    assert [line["seconds"] for line in resumed] == [12.66, 25.306]
    ended = lines[-1]
    assert (ended["event"], ended["executions_s"]) == ("run_ended", [12.66, 25.306, 66.99])
    assert ended["seconds"] == 104.956
