"""`lehr predict --batch`: what it asks, in which order, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lehr.errors import UserError
from lehr_cli import batch
from lehr_cli.batch import predict_batch
from lehr_cli.failures import CloudError, RunFailedError
from lehr_cli.invocation import Invocation
from lehr_cli.target import local_target

URL = "https://localhost:4743/predict/batch/mnist"
STARTED = (202, {"batch": "b1", "status_url": f"{URL}/b1", "units": 2, "rows": 5})
COUNTS = {
    "batch": "b1",
    "model_version": "v1",
    "units": 2,
    "units_done": 2,
    "rows_done": 5,
    "refused_units": 0,
    "refused": [],
}
DONE = (200, COUNTS | {"status": "done", "result_urls": ["https://s3/one", "https://s3/two"]})
RUNNING = (200, COUNTS | {"status": "running", "units_done": 1, "rows_done": 3})
S3 = "s3://data/batches/mnist/day/"


class Http:
    """Gives the answers in turn and keeps what was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    def send(self, request: Any) -> Any:
        self.asked.append((request.method, request.url))
        self.bodies.append(request.body or b"")
        status, document = self.answers.pop(0)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        return SimpleNamespace(status_code=status, content=content)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command against the given answers; gives what was asked and the file of the result."""

    def predict(rows: str, *answers: tuple[int, Any]) -> tuple[Http, Path]:
        http, result = Http(*answers), tmp_path / "folder" / "result.jsonl"
        target = local_target({"endpoint_url": "http://localhost:4710", "region": "us-east-1"})
        invocation = Invocation(is_json=True, given_target=target)
        invocation.__dict__["stack"] = SimpleNamespace(
            target=target, endpoint_url="https://localhost:4743", data=SimpleNamespace(bucket="data")
        )
        monkeypatch.setattr(batch, "connection", lambda target: http)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        predict_batch(invocation, "mnist", rows, result)
        return http, result

    return predict


def events(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_a_file_is_uploaded_started_followed_and_its_result_is_kept(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_bytes(b"1,2")
    offered = (200, {"upload": "https://s3/put", "batch": "upload-1"})
    http, result = run(
        str(rows), offered, (200, b""), STARTED, RUNNING, DONE, (200, b"one\n"), (200, b"two\n")
    )
    assert http.asked == [
        ("POST", URL),
        ("PUT", "https://s3/put"),
        ("POST", URL),
        *[("GET", f"{URL}/b1")] * 2,
        ("GET", "https://s3/one"),
        ("GET", "https://s3/two"),
    ]
    assert http.bodies[:3] == [b"{}", b"1,2", b'{"batch": "upload-1"}']
    assert result.read_bytes() == b"one\ntwo\n"
    assert events(capsys.readouterr().out) == [
        "batch_started",
        "batch_progress",
        "batch_ended",
        "batch_downloaded",
    ]


def test_rows_in_s3_are_started_where_they_lie(run: Any) -> None:
    http, _ = run(S3, STARTED, DONE, (200, b""), (200, b""))
    assert json.loads(http.bodies[0]) == {"input": S3}


def test_refused_files_are_named(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [{"key": "k", "first": 0, "reason": "s3://data/k: is empty"}]
    run(S3, STARTED, (200, DONE[1] | {"refused": refused, "refused_units": 1}), (200, b""), (200, b""))
    assert "refused: s3://data/k: is empty" in capsys.readouterr().err


def test_a_batch_that_failed_ends_with_its_reason_and_no_file(run: Any, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="no such model"):
        run(S3, STARTED, (200, COUNTS | {"status": "failed", "reason": "no such model"}))
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("answers", "fault", "told"),
    [
        ([(422, {"detail": "holds no file"})], UserError, "holds no file"),
        ([(404, {"detail": "No project of that name was pushed."})], UserError, "No project"),
        ([(403, {"message": "Forbidden"})], CloudError, "Forbidden"),
        ([(202, {"nonsense": 1})], CloudError, "which is no batch"),
        ([STARTED, DONE, (403, b"expired")], CloudError, "S3 answered 403 to GET: expired"),
    ],
)
def test_what_goes_wrong_is_told(run: Any, answers: list[Any], fault: type[Exception], told: str) -> None:
    with pytest.raises(fault, match=told):
        run(S3, *answers)


def test_a_file_that_is_not_there_asks_nothing(run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        run(str(tmp_path / "missing.csv"))
