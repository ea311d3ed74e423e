"""The commands against a stack of moto's: buckets, table, outputs, function and state machine are real enough."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from lehr import layout
from lehr.contracts.evaluation import Decision
from lehr.contracts.registry import RunRecord, TriggerRecord
from lehr.contracts.workflow import Failure, StartAnswer
from lehr.costs import run_cost
from lehr.prices import load_prices
from lehr_cli import data, watch
from lehr_cli.events import Decided, ExecutionEnded, MapProgress, StateEntered, StateExited
from lehr_cli.follow import follow
from lehr_cli.stack import open_stack
from lehr_cli.target import Target, choose_target
from tests.integration.cli.calls import documents, run

EXAMPLE = Path(__file__).parents[3] / "examples" / "mnist"
DROP_ID = "ab" * 16


def record(name: str = "aaa", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "project": "mnist",
        "run": name,
        "status": "running",
        "started_at": "2026-01-01T12:00:00.000Z",
        "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:retrain:mnist-aaa",
        "code_sha": "c",
        "fingerprint": "f",
    }
    return RunRecord(**fields | changes)


def answered(stack: Any, monkeypatch: pytest.MonkeyPatch, outcome: str, reason: str, name: str = "") -> None:
    """Let start_run have answered the next drop."""
    monkeypatch.setattr(data, "uuid4", lambda: UUID(hex=DROP_ID))
    stack.registry.add_trigger(
        TriggerRecord(project="mnist", trigger=DROP_ID, outcome=outcome, run=name, reason=reason, at="")  # type: ignore[arg-type]
    )


def followed(monkeypatch: pytest.MonkeyPatch, status: str = "SUCCEEDED") -> None:
    """Let the run that is watched pass one state and end."""
    events = [StateEntered(state="Gate", at=""), None, ExecutionEnded(status=status, seconds=65.25)]
    monkeypatch.setattr(watch, "follow", lambda *_, **__: iter(events))


def test_a_project_is_pushed_under_its_digest(stack: Any) -> None:
    result = run("push", str(EXAMPLE), "--json")
    assert result.exit_code == 0
    (pushed,) = documents(result)
    head = stack.s3.get_object(Bucket=stack.artifacts, Key="projects/mnist/head.json")["Body"].read()
    assert json.loads(head) == {"code_sha": pushed["code_sha"]}
    key = f"projects/mnist/{pushed['code_sha']}/lehr.toml"
    body = stack.s3.get_object(Bucket=stack.artifacts, Key=key)["Body"].read()
    assert body == (EXAMPLE / "lehr.toml").read_bytes()
    assert "AWS, account 123456789012, region us-east-1" in result.stderr


def test_a_drop_ends_with_ready_and_tells_the_answer(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("push", str(EXAMPLE))
    answered(stack, monkeypatch, "started", "70000 rows", "aaa")
    result = run("drop", "mnist", str(EXAMPLE / "data"))
    assert result.exit_code == 0
    assert "started run aaa: 70000 rows" in result.stdout
    listed = stack.s3.list_objects_v2(Bucket=stack.data)["Contents"]
    assert [entry["Key"].rsplit("/", 1)[1] for entry in listed] == [
        "_READY",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    ready = stack.s3.get_object(Bucket=stack.data, Key="incoming/mnist/_READY")["Body"].read()
    assert ready == DROP_ID.encode()


def test_a_refused_drop_gives_its_reason_and_exit_code_1(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("push", str(EXAMPLE))
    answered(stack, monkeypatch, "refused", "labels are missing")
    result = run("drop", "mnist", str(EXAMPLE / "data" / "t10k-labels-idx1-ubyte.gz"))
    assert result.exit_code == 1
    assert "start_run refused: labels are missing" in result.stderr


def test_nothing_is_sent_for_a_project_that_nobody_pushed(stack: Any) -> None:
    result = run("drop", "mnist", str(EXAMPLE / "data"))
    assert result.exit_code == 2
    assert "no project 'mnist' was pushed (known: none yet)" in result.stderr
    assert "Contents" not in stack.s3.list_objects_v2(Bucket=stack.data)


def test_a_missing_stack_is_told_with_the_way_out() -> None:
    result = run("runs", "--stack", "nowhere")
    assert result.exit_code == 3
    assert "there is no stack 'nowhere' at region us-east-1" in result.stderr
    assert "sam deploy" in result.stderr


def test_training_without_data_calls_start_run(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record())
    stack.registry.end_run("mnist", "aaa", status="promoted", model_version="c0ffee", accuracy=0.9794)
    followed(monkeypatch)
    answer = StartAnswer(project="mnist", outcome="started", run="aaa", execution_arn="arn", reason="new")
    asked: list[dict[str, Any]] = []

    class Lambda:
        def invoke(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            return {"Payload": io.BytesIO(answer.to_json())}

    client = Target.client
    monkeypatch.setattr(
        Target, "client", lambda target, name: Lambda() if name == "lambda" else client(target, name)
    )
    result = run("train", "mnist")
    assert result.exit_code == 0
    assert asked[0]["FunctionName"] == "start-run"
    assert json.loads(asked[0]["Payload"])["project"] == "mnist"
    assert "model c0ffee is the champion now, test accuracy 0.9794, after 1 min 05.2 s" in result.stdout


def test_nothing_new_is_no_failure(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="promoted"))
    answered(stack, monkeypatch, "nothing_new", "nothing is new: run aaa ended: promoted", "aaa")
    result = run("train", "mnist", "--data", str(EXAMPLE / "data"))
    assert result.exit_code == 0
    assert "nothing is new" in result.stdout


def test_a_failed_run_shows_the_log_and_ends_with_the_reason(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="failed", reason="TrainTrials: out of memory"))
    failure = Failure(
        project="mnist",
        run="aaa",
        state="TrainTrials",
        error="States.TaskFailed",
        reason="out of memory",
        log_tail=["allocating [2] GiB"],
        log_url="",
    )
    stack.s3.put_object(
        Bucket=stack.artifacts, Key=layout.failure_key("mnist", "aaa"), Body=failure.to_json()
    )
    followed(monkeypatch, "FAILED")
    result = run("watch", "aaa")
    assert result.exit_code == 1
    assert "| allocating [2] GiB" in result.stdout
    assert "error: run aaa failed in TrainTrials: out of memory" in result.stderr


def test_a_rejected_run_is_a_decision_and_no_failure(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="rejected", model_version="beef", accuracy=0.9))
    followed(monkeypatch)
    result = run("watch", "mnist", "--json")
    assert result.exit_code == 0
    assert [document["event"] for document in documents(result)] == [
        "state_entered",
        "execution_ended",
        "run_ended",
    ]
    assert documents(result)[-1]["status"] == "rejected"


def test_runs_can_be_named_by_their_start_and_not_by_two(stack: Any) -> None:
    run("push", str(EXAMPLE))
    for name in ("abc1", "abd2"):
        stack.registry.add_run(record(name, status="failed"))
    assert run("stop", "abc").exit_code == 0
    ambiguous = run("stop", "ab")
    assert ambiguous.exit_code == 2
    assert "mnist/abc1, mnist/abd2" in ambiguous.stderr
    assert "neither a run nor a project 'zzz'" in run("stop", "zzz").stderr


def test_runs_are_documents_with_json(stack: Any) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="promoted", model_version="c0ffee", accuracy=0.9794))
    stack.registry.promote("mnist", "c0ffee", run="aaa", generation=0)
    (line,) = documents(run("runs", "--json"))
    assert (line["run"], line["accuracy"], line["champion"]) == ("aaa", 0.9794, True)


def test_a_project_is_estimated_and_a_run_is_billed(stack: Any) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="promoted"))
    stack.registry.set_run_cost("mnist", "aaa", 0.25)
    (estimate,) = documents(run("cost", "mnist", "--json"))
    assert (estimate["expected_usd"], estimate["expected_from_runs"]) == (0.25, 1)
    unknown = run("cost", "aaa")
    assert unknown.exit_code == 2
    assert "the cost of run aaa of mnist is not known" in unknown.stderr
    cost = run_cost("mnist", "aaa", [], load_prices(), shards=3)
    stack.s3.put_object(Bucket=stack.artifacts, Key=layout.cost_key("mnist", "aaa"), Body=cost.to_json())
    (billed,) = documents(run("cost", "aaa", "--json"))
    assert (billed["event"], billed["total_usd"]) == ("cost", cost.total_usd)


def test_a_report_is_fetched_to_a_file(stack: Any, tmp_path: Path) -> None:
    run("push", str(EXAMPLE))
    stack.registry.add_run(record(status="promoted"))
    key = layout.report_key("mnist", "aaa")
    assert run("report", "aaa").exit_code == 2
    stack.s3.put_object(Bucket=stack.artifacts, Key=key, Body=b"<!doctype html>")
    result = run("report")
    assert result.stdout.strip() == ".lehr/reports/mnist-aaa.html"
    assert (tmp_path / result.stdout.strip()).read_bytes() == b"<!doctype html>"


def test_a_row_of_the_dropped_data_is_shown_and_sent(
    stack: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("push", str(EXAMPLE))
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        stack.s3.upload_file(str(EXAMPLE / "data" / name), stack.data, f"incoming/mnist/{name}")
    sent: list[bytes] = []
    answer = {
        "model_version": "c0ffee",
        "predictions": [{"label": "7", "probability": 0.9981, "probabilities": {"7": 0.9981, "3": 0.0019}}],
    }

    class Http:
        def send(self, request: Any) -> Any:
            sent.append(request.body)
            return SimpleNamespace(status_code=200, content=json.dumps(answer).encode())

    monkeypatch.setattr("lehr_cli.endpoint.connection", lambda target: Http())
    result = run("predict", "mnist", "--row", "0")
    assert result.exit_code == 0
    assert "row 0 of the test data, labelled 7" in result.stdout
    assert "label 7  probability 0.9981  (then 3 0.0019)  model c0ffee" in result.stdout
    (row,) = json.loads(sent[0])["inputs"]
    assert (len(row), len(row[0]), sum(map(sum, row))) == (28, 28, 18454)
    assert sent[0] == (tmp_path / ".lehr/requests/mnist-row-0.json").read_bytes()
    assert "rows 0 to 9999, not 10000" in run("predict", "mnist", "--row", "10000").stderr


def test_a_run_is_followed_with_its_decision_and_the_counts_of_its_maps(stack: Any) -> None:
    decision = Decision(verdict="promote", reason="better", rules=[])
    stack.s3.put_object(
        Bucket=stack.artifacts, Key=layout.decision_key("mnist", "aaa"), Body=decision.to_json()
    )
    opened = open_stack(choose_target(is_aws=True, region=None), "lehr")
    histories = Path(__file__).parents[2] / "unit" / "cli" / "histories"
    events = json.loads((histories / "promoted.json").read_text())

    class Executions:
        def get_execution_history(self, **_: Any) -> dict[str, Any]:
            return {"events": [e | {"timestamp": datetime.fromisoformat(e["timestamp"])} for e in events]}

        def describe_map_run(self, **_: Any) -> dict[str, Any]:
            return {"itemCounts": {"succeeded": 3, "failed": 0, "total": 3}}

    opened.__dict__["executions"] = Executions()
    seen = [event for event in follow(opened, "mnist", "aaa", "arn") if event is not None]
    judged = [isinstance(event, StateExited) and event.state == "JudgeModel" for event in seen].index(True)
    assert seen[judged + 1] == Decided(decision=decision)
    assert MapProgress(state="PrepareShards", done=3, of=3) in seen
    assert isinstance(seen[-1], ExecutionEnded)
