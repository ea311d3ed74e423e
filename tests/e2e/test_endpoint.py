"""The endpoint as its callers meet it: HTTPS, signatures, and nothing they send makes it fail."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from urllib.error import HTTPError

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from lehr.contracts.capture import PredictionCapture
from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace
from tests.unit.functions.corpus import REFUSED, Case, png

Ask = Callable[..., tuple[int, bytes]]
TRAINING_JOBS = 1
# What depends on headers, or on how API Gateway hands a body over, is tested on the function itself.
SENDABLE = [case for case in REFUSED if not case.headers and not case.is_encoded]
BODIES = [case for case in SENDABLE if "\ud800" not in (case.body or "")]


@pytest.fixture(scope="module")
def served(workplace: Workplace) -> str:
    """A project whose model was promoted."""
    project = workplace.project("served")
    assert workplace.lehr("push", str(write_project(workplace.folder / project, project))).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    assert workplace.lehr("train", project, "--data", str(data)).code == 0
    return project


@pytest.fixture(scope="module")
def ask(workplace: Workplace, served: str) -> Ask:
    """Asks with or without a signature, after a model has been promoted."""
    url, cloud = workplace.outputs()["EndpointUrl"], workplace.cloud
    context = ssl.create_default_context(cafile=cloud.ca_file or os.environ.get("AWS_CA_BUNDLE"))

    def send(
        path: str, body: bytes | None = None, *, method: str = "POST", signed: bool = True
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if signed:
            request = AWSRequest(method=method, url=url + path, data=body, headers=headers)
            SigV4Auth(cloud.session.get_credentials(), "execute-api", cloud.region).add_auth(request)
            headers = dict(request.headers.items())
        call = urllib.request.Request(url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(call, context=context, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as fault:
            with fault:
                return fault.code, fault.read()

    return send


def test_a_prediction_names_label_probability_and_version(ask: Ask, served: str) -> None:
    status, body = ask(f"/predict/{served}", json.dumps({"inputs": [[0] * 28] * 28}).encode())
    answer = json.loads(body)
    assert status == 200
    assert len(answer["predictions"][0]["probabilities"]) == 10
    assert answer["model_version"]


def test_an_unsigned_request_is_forbidden(ask: Ask, served: str) -> None:
    assert ask(f"/predict/{served}", b"{}", signed=False)[0] == 403


def test_health_is_open(ask: Ask) -> None:
    assert ask("/health", method="GET", signed=False)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/docs/docs.js", "/openapi.json", "/v2/health/live", "/v2/health/ready"]
)
def test_pages_and_probes_are_open(ask: Ask, path: str) -> None:
    assert ask(path, method="GET", signed=False)[0] == 200


@pytest.mark.parametrize("path", ["/models", "/v2", "/v2/models/any", "/nowhere"])
def test_everything_else_is_closed(ask: Ask, path: str) -> None:
    assert ask(path, method="GET", signed=False)[0] == 403


def test_an_image_is_answered(ask: Ask, served: str) -> None:
    encoded = base64.b64encode(png()).decode()
    status, body = ask(f"/predict/{served}?top_k=3", json.dumps({"image": encoded}).encode())
    assert status == 200
    assert len(json.loads(body)["predictions"][0]["probabilities"]) == 3


def test_models_say_where_they_come_from(ask: Ask, served: str) -> None:
    listed = json.loads(ask("/models", method="GET")[1])["models"]
    (version,) = [model["model_version"] for model in listed if model["project"] == served]
    described = json.loads(ask(f"/models/{served}", method="GET")[1])
    assert (described["model_version"], described["lineage"]["project"]) == (version, served)
    assert described["training"]["epochs"]
    assert described["files"].keys() >= {
        "model.onnx",
        "signature.json",
        "training.json",
        "lineage.json",
        "card.md",
    }
    assert described["card"].startswith("---\nlibrary_name: onnx\n")
    assert described["metrics"]["split"] == "validation"


def test_a_project_without_a_model_says_how_to_train_one(ask: Ask, workplace: Workplace) -> None:
    project = workplace.project("fresh")
    assert workplace.lehr("push", str(write_project(workplace.folder / project, project))).code == 0
    status, body = ask(f"/predict/{project}", json.dumps({"inputs": [[0] * 28] * 28}).encode())
    assert status == 503
    assert f"lehr train {project}" in json.loads(body)["detail"]


def test_an_unknown_project_or_path_is_not_found(ask: Ask, workplace: Workplace) -> None:
    assert ask(f"/predict/{workplace.project('unheard-of')}", b"{}")[0] == 404
    assert ask("/nowhere", method="GET")[0] == 404


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.name)
def test_bad_input_is_refused_with_a_problem_document_that_names_the_field(
    ask: Ask, served: str, case: Case
) -> None:
    status, body = ask(f"/predict/{served}", (case.body or "").encode())
    problem = json.loads(body)
    assert (status, problem["status"], problem.get("field")) == (case.status, case.status, case.field)
    assert problem["detail"]


@pytest.fixture
def deploy_with(workplace: Workplace) -> Iterator[Callable[..., None]]:
    """Deploys the stack anew with other parameters, and at the end with none."""

    def deploy_stack(**parameters: str) -> None:
        options = [f"--parameter={name}={value}" for name, value in parameters.items()]
        finished = workplace.lehr("local", "up", *options)
        assert finished.code == 0, finished.stderr

    yield deploy_stack
    deploy_stack()


@pytest.mark.local_only("deploys the stack anew, with another parameter")
def test_with_a_capture_rate_a_prediction_is_found_in_the_log_of_the_function(
    ask: Ask, workplace: Workplace, served: str, deploy_with: Callable[..., None]
) -> None:
    body = json.dumps({"inputs": [[255] * 28] * 28}).encode()
    assert ask(f"/predict/{served}", body)[0] == 200
    assert captured_predictions(workplace) == []
    deploy_with(CaptureRate="1")
    answer = json.loads(ask(f"/predict/{served}", body)[1])
    deadline = time.monotonic() + workplace.target.soon_s
    while not (captured := captured_predictions(workplace)):
        assert time.monotonic() < deadline, "the prediction was not captured"
        time.sleep(0.2)
    (found,) = captured
    assert (found.project, found.model_version) == (served, answer["model_version"])
    assert [one.label for one in found.predictions] == [answer["predictions"][0]["label"]]
    assert (found.inputs.count, found.inputs.histogram[-1], found.features) == (784, 784, None)


@pytest.mark.local_only("deploys the stack anew, with another parameter")
def test_beyond_the_limits_of_the_stack_there_are_429_and_the_command_waits(
    ask: Ask, workplace: Workplace, served: str, deploy_with: Callable[..., None]
) -> None:
    deploy_with(EndpointRateLimit="1", EndpointBurstLimit="3")
    body = json.dumps({"inputs": [[255] * 28] * 28}).encode()
    file = workplace.folder / "request.json"
    file.write_bytes(body)
    answers = [ask(f"/predict/{served}", body) for _ in range(12)]
    assert {status for status, _ in answers} == {200, 429}
    assert (429, b'{"message":"Too Many Requests"}') in answers
    predicted = workplace.lehr("predict", served, "--input", str(file))
    assert predicted.code == 0, predicted.stderr
    assert predicted.only("prediction")["predictions"]


def captured_predictions(workplace: Workplace) -> list[PredictionCapture]:
    """What was captured so far, read as an operator would read it."""
    pages = workplace.client("logs").get_paginator("filter_log_events")
    return [
        PredictionCapture.from_json(event["message"])
        for page in pages.paginate(logGroupName=f"/aws/lambda/{workplace.target.stack}-predict")
        for event in page["events"]
        if event["message"].startswith('{"kind":"prediction"')
    ]
