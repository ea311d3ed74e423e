"""StartBatch: what may be an input, how it is cut, what makes two requests the same, and what is told of a batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from functions.start_batch import app
from functions.start_batch.plan import MAX_FILES, ROWS_PER_UNIT, find_files, plan_units
from functions.start_batch.routes import TABLE
from functions.start_batch.start import MAX_ATTEMPTS, StartBatch
from lehr import layout
from lehr.contracts.batch_prediction import (
    Batch,
    BatchFailure,
    BatchInput,
    BatchRequest,
    BatchResult,
    BatchUnit,
    BatchUnitResult,
    RefusedRows,
)
from lehr.errors import MissingDataError, NoChampionError, UnknownProjectError, UserError
from lehr.http.gateway import Request
from lehr.ports import ExecutionEnd
from lehr_runtime.shards import write_shard
from tests.e2e.small_mnist import encode_idx
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

ENDED = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:f", aws_request_id="request-1"
)
CSV = b",".join([b"0"] * 784)


class Executions:
    """Names that were started, and how those that ended did."""

    def __init__(self) -> None:
        self.started: dict[str, bytes] = {}
        self.ends: dict[str, str] = {}

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        is_new = name not in self.started
        self.started.setdefault(name, body)
        return f"arn:{name}", is_new

    def ended_as(self, name: str) -> ExecutionEnd | None:
        return ExecutionEnd(status=self.ends[name], at=ENDED) if name in self.ends else None


class Addresses:
    """The key is the address."""

    def to_get(self, key: str) -> str:
        return f"get {key}"

    def to_put(self, key: str) -> str:
        return f"put {key}"


@pytest.fixture
def executions() -> Executions:
    return Executions()


def make_starter(executions: Executions) -> StartBatch:
    """With a champion of mnist, and one file to predict."""
    registry = InMemoryRegistry()
    registry.promote("mnist", "model-1", run="r1", generation=0)
    return StartBatch(
        data=InMemoryObjectStore("data", {"batches/mnist/rows.csv": CSV}),
        artifacts=InMemoryObjectStore("artifacts"),
        registry=registry,
        executions=executions,
        uploads=Addresses(),
        results=Addresses(),
        new_upload=lambda: "upload-1",
    )


@pytest.fixture
def starter(executions: Executions) -> StartBatch:
    return make_starter(executions)


def rows_csv() -> BatchRequest:
    return BatchRequest(input="s3://data/batches/mnist/rows.csv")


def put(starter: StartBatch, key: str, body: bytes) -> None:
    starter.data.put(f"batches/mnist/{key}", body)


def describe(starter: StartBatch, project: str, batch: str) -> dict[str, Any]:
    """As it is answered."""
    progress = starter.describe(project, batch)
    assert progress is not None
    found: dict[str, Any] = msgspec.to_builtins(progress)
    return found


def finish(starter: StartBatch, executions: Executions, batch: Batch, **changes: Any) -> None:
    """As the state machine ends one."""
    fields: dict[str, Any] = {
        "project": batch.project,
        "batch": batch.batch,
        "model_version": batch.model_version,
        "status": "done",
        "units": batch.units,
        "rows": 1,
        "refused_units": 0,
        "refused": [],
        "files": [layout.batch_predictions_key(batch.project, batch.batch, 0)],
    }
    result = BatchResult(**fields | changes)
    starter.artifacts.put(layout.batch_result_key(batch.project, batch.batch), result.to_json())
    executions.ends[f"{batch.project}-{batch.batch}"] = "SUCCEEDED" if result.status == "done" else "FAILED"


def test_a_batch_is_started_with_a_plan_that_its_execution_names(
    starter: StartBatch, executions: Executions
) -> None:
    batch = starter.start("mnist", rows_csv())
    (body,) = executions.started.values()
    given = BatchInput.from_json(body)
    assert (given.project, given.batch, given.plan.bucket) == ("mnist", batch.batch, "artifacts")
    (unit,) = msgspec.json.decode(starter.artifacts.get(given.plan.key), type=list[BatchUnit])
    assert (unit.model_version, unit.source.key, unit.count) == ("model-1", "batches/mnist/rows.csv", 0)


def test_the_same_files_and_champion_are_one_batch_and_anything_else_is_another(
    starter: StartBatch, executions: Executions
) -> None:
    first = starter.start("mnist", rows_csv())
    assert starter.start("mnist", rows_csv()) == first
    finish(starter, executions, first)
    assert starter.start("mnist", rows_csv()) == first
    assert len(executions.started) == 1
    put(starter, "rows.csv", CSV + b"\n" + CSV)
    second = starter.start("mnist", rows_csv())
    starter.registry.promote("mnist", "model-2", run="r2", generation=1)
    third = starter.start("mnist", rows_csv())
    assert len({first.batch, second.batch, third.batch}) == len(executions.started) == 3


@pytest.mark.parametrize("end", ["FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED"])
def test_a_batch_without_a_result_is_begun_again_under_another_name(
    starter: StartBatch, executions: Executions, end: str
) -> None:
    """SUCCEEDED: its result has expired since."""
    first = starter.start("mnist", rows_csv())
    executions.ends[f"mnist-{first.batch}"] = end
    second = starter.start("mnist", rows_csv())
    assert second.batch == f"{first.batch}-2"
    assert list(executions.started) == [f"mnist-{first.batch}", f"mnist-{second.batch}"]


def test_a_batch_that_always_fails_is_not_begun_for_ever(starter: StartBatch, executions: Executions) -> None:
    for _ in range(MAX_ATTEMPTS):
        batch = starter.start("mnist", rows_csv())
        executions.ends[f"mnist-{batch.batch}"] = "FAILED"
    with pytest.raises(UserError, match="have failed 9 times"):
        starter.start("mnist", rows_csv())


def test_the_longest_name_of_an_execution_fits(starter: StartBatch, executions: Executions) -> None:
    project = "p" * 63
    starter.registry.promote(project, "model-1", run="r1", generation=0)
    starter.data.put(f"batches/{project}/rows.csv", CSV)
    request = BatchRequest(input=f"s3://data/batches/{project}/rows.csv")
    first = starter.start(project, request)
    executions.ends[f"{project}-{first.batch}"] = "FAILED"
    starter.start(project, request)
    assert max(map(len, executions.started)) <= 80


@pytest.mark.parametrize(
    "place",
    [
        "s3://other/batches/mnist/rows.csv",
        "s3://data/incoming/mnist/rows.csv",
        "s3://data/batches/other/rows.csv",
        "s3://data/batches/mnist/",
        "s3://data/batches/mnist/../other/rows.csv",
        "s3://data/batches/mnist/missing.csv",
        "s3://data/batches/mnist/ro",
        "batches/mnist/rows.csv",
    ],
)
def test_what_is_no_input_of_the_project_starts_nothing(
    starter: StartBatch, executions: Executions, place: str
) -> None:
    with pytest.raises(UserError):
        starter.start("mnist", BatchRequest(input=place))
    assert executions.started == {}
    assert list(starter.artifacts.list("batches/")) == []


def test_an_object_is_not_taken_for_the_folder_whose_name_it_begins(starter: StartBatch) -> None:
    for key in ("day", "day.csv", "day/1.csv", "day/2.csv", "day/", "daylight/3.csv"):
        put(starter, key, CSV if not key.endswith("/") else b"")

    def found(key: str) -> list[str]:
        files = find_files(starter.data, "mnist", f"batches/mnist/{key}")
        return [entry.key.removeprefix("batches/mnist/") for entry in files]

    assert found("day") == ["day"]
    assert found("day/") == ["day/1.csv", "day/2.csv"]
    assert found("daylight") == ["daylight/3.csv"]


def test_a_folder_is_found_behind_any_number_of_names_that_it_begins(starter: StartBatch) -> None:
    for number in range(3 * MAX_FILES):
        put(starter, f"day-{number:04d}.csv", CSV)
    put(starter, "day/1.csv", CSV)
    (found,) = find_files(starter.data, "mnist", "batches/mnist/day")
    assert found.key == "batches/mnist/day/1.csv"


def test_a_failure_that_step_functions_has_forgotten_is_not_taken_for_the_next_one(
    starter: StartBatch, executions: Executions
) -> None:
    batch = starter.start("mnist", rows_csv())
    failure = BatchFailure(state="PredictBatchUnit", error="E", cause="c")
    finish(starter, executions, batch, status="failed", failure=failure, files=[])
    executions.ends.clear()
    assert starter.start("mnist", rows_csv()).batch == f"{batch.batch}-2"


def test_a_folder_of_too_many_files_is_refused(starter: StartBatch) -> None:
    for number in range(MAX_FILES + 1):
        put(starter, f"many/{number:04d}.csv", CSV)
    with pytest.raises(UserError, match=f"more than {MAX_FILES} files"):
        find_files(starter.data, "mnist", "batches/mnist/many/")


def test_rows_are_cut_by_what_headers_promise_and_other_files_stay_whole(starter: StartBatch) -> None:
    x = np.zeros((ROWS_PER_UNIT + 1, 2, 2), dtype=np.uint8)
    contents = {"a": encode_idx(x), "b": write_shard({"x": x}), "c": b"1,2,3,4", "d": b"\x1f\x8bbroken"}
    contents |= {
        "e": b"\x89PNG\r\n\x1a\n",
        "f": b"",
        "g": b"\x08\0\0\0\0\0\0\0{broken}",
        "h": write_shard({"y": x}),
    }
    for key, body in contents.items():
        put(starter, f"all/{key}", body)
    files = find_files(starter.data, "mnist", "batches/mnist/all/")
    units = plan_units(starter.data, files, project="mnist", batch="b", model_version="v")
    assert [(unit.source.key[-1], unit.first, unit.count) for unit in units] == [
        ("a", 0, ROWS_PER_UNIT),
        ("a", ROWS_PER_UNIT, 1),
        ("b", 0, ROWS_PER_UNIT),
        ("b", ROWS_PER_UNIT, 1),
        *((key, 0, 0) for key in "cdefgh"),
    ]
    assert [unit.index for unit in units] == list(range(10))


def test_rows_for_too_many_units_are_refused_before_anything_is_written(
    starter: StartBatch, executions: Executions
) -> None:
    claim = (0x0803).to_bytes(4) + (1 << 30).to_bytes(4) + (1).to_bytes(4) * 2
    put(starter, "rows.csv", claim)
    with pytest.raises(UserError, match="more than 2000 units"):
        starter.start("mnist", rows_csv())
    assert (executions.started, list(starter.artifacts.list(""))) == ({}, [])


def test_an_upload_is_offered_and_started_by_its_id(starter: StartBatch) -> None:
    offered = starter.offer_upload("mnist")
    assert (offered.upload, offered.batch) == ("put batches/mnist/upload-1/input", "upload-1")
    with pytest.raises(MissingDataError):
        starter.start("mnist", BatchRequest(batch="upload-1"))
    put(starter, "upload-1/input", CSV)
    batch = starter.start("mnist", BatchRequest(batch="upload-1"))
    assert (batch.input, batch.units) == ("s3://data/batches/mnist/upload-1/", 1)
    with pytest.raises(UserError, match="is not a name"):
        starter.start("mnist", BatchRequest(batch="../other"))


def test_a_project_without_a_model_gets_neither_an_upload_nor_a_batch(starter: StartBatch) -> None:
    starter.artifacts.put(layout.project_head_key("young"), b"{}")
    for project, fault in (
        ("young", NoChampionError),
        ("nobody", UnknownProjectError),
        ("../x", UnknownProjectError),
    ):
        with pytest.raises(fault):
            starter.offer_upload(project)
        with pytest.raises(fault):
            starter.start(project, rows_csv())


def test_progress_is_what_the_units_have_written(starter: StartBatch) -> None:
    put(starter, "two/a.csv", CSV)
    put(starter, "two/b.csv", b"x")
    batch = starter.start("mnist", BatchRequest(input="s3://data/batches/mnist/two/"))
    before = describe(starter, "mnist", batch.batch)
    assert (before["status"], before["units"], before["units_done"]) == ("running", 2, 0)
    unit = BatchUnitResult(index=1, key="batches/mnist/two/b.csv", first=0, rows=0, bytes=0, refused="no CSV")
    starter.artifacts.put(layout.batch_unit_key("mnist", batch.batch, 1), unit.to_json())
    after = describe(starter, "mnist", batch.batch)
    assert (after["units_done"], after["rows_done"], after["refused_units"]) == (1, 0, 1)
    assert after["refused"] == [{"key": "batches/mnist/two/b.csv", "first": 0, "reason": "no CSV"}]


def test_a_batch_that_is_done_has_addresses_of_its_result(
    starter: StartBatch, executions: Executions
) -> None:
    batch = starter.start("mnist", rows_csv())
    refused = RefusedRows(key="k", first=0, reason="r")
    finish(starter, executions, batch, rows=5, refused_units=1, refused=[refused])
    told = describe(starter, "mnist", batch.batch)
    assert (told["status"], told["rows_done"], told["refused_units"]) == ("done", 5, 1)
    assert told["refused"] == [{"key": "k", "first": 0, "reason": "r"}]
    assert told["result_urls"] == [f"get batches/mnist/{batch.batch}/predictions-00000.jsonl"]


def test_a_batch_that_failed_says_why_and_is_begun_again(starter: StartBatch, executions: Executions) -> None:
    batch = starter.start("mnist", rows_csv())
    failure = BatchFailure(state="PredictBatchUnit", error="ModelPackageError", cause="is not there")
    finish(starter, executions, batch, status="failed", failure=failure, files=[])
    told = describe(starter, "mnist", batch.batch)
    assert (told["status"], told["reason"]) == ("failed", "PredictBatchUnit: ModelPackageError: is not there")
    assert "result_urls" not in told
    assert starter.start("mnist", rows_csv()).batch == f"{batch.batch}-2"


def test_a_batch_that_was_stopped_is_told_as_failed(starter: StartBatch, executions: Executions) -> None:
    batch = starter.start("mnist", rows_csv())
    executions.ends[f"mnist-{batch.batch}"] = "ABORTED"
    told = describe(starter, "mnist", batch.batch)
    assert (told["status"], told["reason"]) == ("failed", "the execution ended as ABORTED and left no result")


# --- over HTTP ---


DESCRIPTION = json.loads((Path(app.__file__).parents[1] / "predict/openapi.json").read_text())


def ask(
    method: str, path: str, body: str | None = None, *, is_encoded: bool = False
) -> tuple[int, dict[str, Any]]:
    """Status and document, which is one that the description of the API promises."""
    event = {
        "version": "2.0",
        "rawPath": path,
        "headers": {"host": "api.example.com", "content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": is_encoded,
    }
    answer = app.handler(event, CONTEXT)
    kind = "application/json" if answer["statusCode"] < 300 else "application/problem+json"
    assert answer["headers"]["Content-Type"] == kind
    document = json.loads(answer["body"])
    if answer["statusCode"] not in (405, 500) and document.get("type") != "urn:lehr:problem:unknown-route":
        route = TABLE.find(Request(event))
        responses = DESCRIPTION["paths"][route.path][method.lower()]["responses"]
        schema = responses[str(answer["statusCode"])]["content"][kind]["schema"]
        jsonschema.validate(document, {**schema, "components": DESCRIPTION["components"]})
    return answer["statusCode"], document


@pytest.fixture
def served(starter: StartBatch, monkeypatch: pytest.MonkeyPatch) -> StartBatch:
    monkeypatch.setattr(app, "starter", lambda: starter)
    return starter


def test_a_post_answers_202_with_where_the_progress_is(served: StartBatch) -> None:
    status, answer = ask("POST", "/predict/batch/mnist", json.dumps({"input": rows_csv().input}))
    assert (status, answer["units"]) == (202, 1)
    path = f"/predict/batch/mnist/{answer['batch']}"
    assert answer["status_url"] == f"https://api.example.com{path}"
    assert ask("GET", path)[1]["status"] == "running"


@pytest.mark.parametrize("body", [None, "", " ", "{}"])
def test_a_post_without_fields_answers_with_an_upload(served: StartBatch, body: str | None) -> None:
    offered = msgspec.to_builtins(served.offer_upload("mnist"))
    assert ask("POST", "/predict/batch/mnist", body) == (200, offered)


@pytest.mark.parametrize(
    ("body", "is_encoded"),
    [
        ("{", False),
        ("[]", False),
        ('{"input": 1}', False),
        ('{"inputs": "x"}', False),
        ('{"input": "s3://data/x", "batch": "b"}', False),
        ('{"input": "s3://data/incoming/mnist/x"}', False),
        ('{"batch": "upload-2"}', False),
        ("/w==", True),
        ("!", True),
    ],
)
def test_a_body_that_asks_for_no_batch_is_a_problem(served: StartBatch, body: str, is_encoded: bool) -> None:
    status, document = ask("POST", "/predict/batch/mnist", body, is_encoded=is_encoded)
    assert (status, document["type"]) == (422, "urn:lehr:problem:batch-input")


def test_what_is_not_there_is_a_problem_of_its_own(served: StartBatch) -> None:
    served.artifacts.put(layout.project_head_key("young"), b"{}")
    answers = {
        "POST /predict/batch/nobody": (404, "unknown-project"),
        "POST /predict/batch/young": (503, "no-champion"),
        "GET /predict/batch/mnist/0123456789ab": (404, "unknown-batch"),
        "GET /predict/batch/mnist/NO": (404, "unknown-batch"),
        "GET /predict/batch": (404, "unknown-route"),
        "DELETE /predict/batch/mnist": (405, "method"),
    }
    for request, (status, kind) in answers.items():
        method, _, path = request.partition(" ")
        found, document = ask(method, path)
        assert (found, document["type"]) == (status, f"urn:lehr:problem:{kind}"), request


def test_what_was_not_foreseen_says_where_to_look_and_nothing_else(
    served: StartBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(project: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(served.registry, "alias", fail)
    status, document = ask("POST", "/predict/batch/mnist")
    assert (status, document["request_id"]) == (500, "request-1")
    assert "secret" not in json.dumps(document)
