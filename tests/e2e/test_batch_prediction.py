"""Batch predictions: every row of some files is answered by the champion, and what is no input is refused."""

from __future__ import annotations

import gzip
import json
import shutil
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.awsrequest import AWSRequest

from lehr.layout import evaluation_report_key
from lehr_cli.endpoint import connection, send_signed
from lehr_runtime.decode import decode_idx
from lehr_runtime.shards import write_shard
from tests.e2e.small_mnist import EXAMPLE, encode_idx, write_data, write_project
from tests.e2e.workplace import Workplace

TRAINING_JOBS = 1
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
ROWS = 10_000


@dataclass(frozen=True)
class Served:
    """A project whose champion was evaluated on all of MNIST's test images, and that evaluation's accuracy."""

    place: Workplace
    project: str
    accuracy: float

    def ask(self, method: str, path: str = "", document: Any = None) -> tuple[int, dict[str, Any]]:
        cloud = self.place.cloud
        url = f"{self.place.outputs()['EndpointUrl']}/predict/batch/{self.project}{path}"
        body = b"" if document is None else json.dumps(document).encode()
        response = send_signed(cloud, method, url, body, connection(cloud))
        return int(response.status_code), json.loads(response.content)

    def wait(self, batch: str) -> dict[str, Any]:
        deadline = time.monotonic() + self.place.target.patience_s
        while (answer := self.ask("GET", f"/{batch}")[1])["status"] == "running":
            assert time.monotonic() < deadline, answer
            time.sleep(self.place.cloud.poll_s)
        return answer

    def put(self, name: str, body: bytes) -> None:
        key = f"batches/{self.project}/{name}"
        self.place.client("s3").put_object(Bucket=self.place.outputs()["DataBucket"], Key=key, Body=body)

    def uri(self, name: str) -> str:
        return f"s3://{self.place.outputs()['DataBucket']}/batches/{self.project}/{name}"

    def executions(self) -> int:
        pages = self.place.client("stepfunctions").get_paginator("list_executions")
        arn = self.place.outputs()["BatchStateMachineArn"]
        found = (
            execution for page in pages.paginate(stateMachineArn=arn) for execution in page["executions"]
        )
        return sum(execution["name"].startswith(f"{self.project}-") for execution in found)


@pytest.fixture(scope="module")
def served(workplace: Workplace) -> Served:
    project = workplace.project("batched")
    folder = write_project(workplace.folder / project, project)
    assert workplace.lehr("push", str(folder)).code == 0
    data = write_data(workplace.folder / "data-batched", 2000)
    for name in (TEST_IMAGES, TEST_LABELS):
        shutil.copy(EXAMPLE / "data" / name, data)
    trained = workplace.lehr("train", project, "--data", str(data))
    assert trained.code == 0, trained.stderr
    (run,) = [record["run"] for record in workplace.runs(project)]
    bucket = workplace.outputs()["ArtifactBucket"]
    report = workplace.client("s3").get_object(Bucket=bucket, Key=evaluation_report_key(project, run))
    with report["Body"] as body:
        document = json.loads(body.read())
    return Served(workplace, project, document["candidate"]["accuracy"])


def images() -> np.ndarray:
    return decode_idx((EXAMPLE / "data" / TEST_IMAGES).read_bytes(), place=TEST_IMAGES)


def labels() -> np.ndarray:
    return decode_idx((EXAMPLE / "data" / TEST_LABELS).read_bytes(), place=TEST_LABELS)


def download(urls: list[str]) -> list[dict[str, Any]]:
    lines = b""
    for url in urls:
        with urllib.request.urlopen(url, timeout=60) as answer:
            lines += answer.read()
    return [json.loads(line) for line in lines.splitlines()]


def test_a_file_of_10000_images_is_predicted_as_the_evaluation_did(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "result.jsonl"
    rows = str(EXAMPLE / "data" / TEST_IMAGES)
    finished = served.place.lehr("predict", served.project, "--batch", rows, "--to", str(file))
    assert finished.code == 0, finished.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(ROWS))
    right = sum(int(line["label"]) == label for line, label in zip(lines, labels().tolist(), strict=True))
    assert right / ROWS == pytest.approx(served.accuracy, abs=1e-12)
    assert finished.only("batch_ended")["units_done"] == 3
    assert len({line["model_version"] for line in lines}) == 1


def test_every_format_gives_the_same_answers_and_a_broken_file_is_refused_with_its_reason(
    served: Served,
) -> None:
    x = images()[:50]
    served.put("mixed/a.idx.gz", encode_idx(x))
    served.put("mixed/b.safetensors", write_shard({"x": x}))
    served.put(
        "mixed/c.csv", "\n".join(",".join(map(str, row)) for row in x.reshape(50, -1).tolist()).encode()
    )
    served.put("mixed/d.idx.gz", encode_idx(x)[:-200])
    code, started = served.ask("POST", document={"input": served.uri("mixed/")})
    assert (code, started["units"]) == (202, 4)
    ended = served.wait(started["batch"])
    assert (ended["status"], ended["rows_done"], ended["refused_units"]) == ("done", 150, 1)
    (refused,) = ended["refused"]
    assert refused["key"] == f"batches/{served.project}/mixed/d.idx.gz"
    assert "truncated" in refused["reason"]
    lines = download(ended["result_urls"])
    answers = [[(line["row"], line["label"]) for line in lines[first : first + 50]] for first in (0, 50, 100)]
    assert answers[0] == answers[1] == answers[2]
    assert Counter(line["key"].rpartition("/")[2] for line in lines) == {
        "a.idx.gz": 50,
        "b.safetensors": 50,
        "c.csv": 50,
    }


def test_the_same_request_starts_nothing_twice_and_other_bytes_start_another_batch(served: Served) -> None:
    served.put("again.csv", b",".join([b"0"] * 784))
    request = {"input": served.uri("again.csv")}
    before = served.executions()
    code, first = served.ask("POST", document=request)
    assert (code, served.ask("POST", document=request)) == (202, (202, first))
    served.wait(first["batch"])
    assert served.ask("POST", document=request) == (202, first)
    assert served.executions() == before + 1
    served.put("again.csv", b",".join([b"1"] * 784))
    _, second = served.ask("POST", document=request)
    assert second["batch"] != first["batch"]
    assert served.wait(second["batch"])["rows_done"] == 1


def test_progress_grows_from_nothing_to_everything(served: Served) -> None:
    served.put("progress.idx", gzip.decompress(encode_idx(np.tile(images(), (3, 1, 1)))))
    _, started = served.ask("POST", document={"input": served.uri("progress.idx")})
    assert (started["units"], started["rows"]) == (8, 3 * ROWS)
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] == "running":
        seen.append(served.ask("GET", f"/{started['batch']}")[1])
    assert seen[0]["status"] == "running"
    assert all(answer["units"] == 8 and answer["rows"] == 3 * ROWS for answer in seen)
    done = [answer["units_done"] for answer in seen]
    assert done == sorted(done)
    assert done[0] < done[-1] == 8
    assert all(answer["rows_done"] <= 4096 * answer["units_done"] for answer in seen)
    assert seen[-1]["rows_done"] == 3 * ROWS


def test_an_upload_takes_one_file_at_its_address_and_starts_when_it_is_asked_to(served: Served) -> None:
    code, offered = served.ask("POST")
    assert code == 200
    assert served.ask("POST", document={"batch": offered["batch"]})[0] == 422
    body = encode_idx(images()[:7])
    http = connection(served.place.cloud)
    assert http.send(AWSRequest("PUT", offered["upload"], {}, body).prepare()).status_code == 200
    code, started = served.ask("POST", document={"batch": offered["batch"]})
    assert (code, started["rows"]) == (202, 7)
    assert started["status_url"].endswith(f"/predict/batch/{served.project}/{started['batch']}")
    assert served.wait(started["batch"])["rows_done"] == 7


def test_what_is_outside_of_the_projects_folder_of_batches_is_no_input(served: Served) -> None:
    bucket = served.place.outputs()["DataBucket"]
    places = [
        f"s3://{bucket}/incoming/{served.project}/{TEST_IMAGES}",
        f"s3://{bucket}/batches/somebody-else/rows.csv",
        f"s3://{served.place.outputs()['ArtifactBucket']}/models/{served.project}/",
        "https://example.com/rows.csv",
    ]
    answers = [served.ask("POST", document={"input": place}) for place in places]
    assert {(code, document["type"]) for code, document in answers} == {(422, "urn:lehr:problem:batch-input")}


def test_batches_and_projects_that_are_not_there_are_not_found(served: Served) -> None:
    code, document = served.ask("GET", "/0123456789ab")
    assert (code, document["type"]) == (404, "urn:lehr:problem:unknown-batch")
    nobody = Served(served.place, "nobody-at-all", 0.0)
    code, document = nobody.ask("POST")
    assert (code, document["type"]) == (404, "urn:lehr:problem:unknown-project")


def test_a_batch_needs_a_signature(served: Served) -> None:
    url = f"{served.place.outputs()['EndpointUrl']}/predict/batch/{served.project}"
    http = connection(served.place.cloud)
    assert http.send(AWSRequest("POST", url, {}, b"").prepare()).status_code == 403
