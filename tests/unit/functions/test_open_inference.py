"""The Open Inference Protocol: what Triton's own client sends and understands, and what is refused in its form."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import numpy as np
import pytest

from functions.predict import app
from functions.predict.catalogue import Catalogue
from functions.predict.inference_requests import DATATYPES, HEADER_LENGTH, read_infer
from functions.predict.requests import MAX_BATCH
from lehr.http.gateway import Request
from lehr.http.problems import Problem
from tests import tiny_models
from tests.unit.functions.corpus import PROTOCOL_REFUSED, ProtocolCase, inference
from tests.unit.functions.test_predict import CONTEXT, World, event

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

BATCH = np.random.default_rng(3).integers(0, 256, (2, 28, 28), dtype=np.uint8)
PATH = "/v2/models/mnist/infer"


@pytest.fixture
def world(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    return world


def post(
    body: bytes, header_length: int | None = None, path: str = PATH
) -> tuple[int, dict[str, str], bytes]:
    """Through API Gateway's eyes: bytes go and come as base64."""
    headers = {} if header_length is None else {HEADER_LENGTH.lower(): str(header_length)}
    text = base64.b64encode(body).decode()
    answer = app.handler(event("POST", path, text, headers=headers, isBase64Encoded=True), CONTEXT)
    found = answer["body"]
    return (
        answer["statusCode"],
        answer["headers"],
        base64.b64decode(found) if answer["isBase64Encoded"] else found.encode(),
    )


def get(path: str) -> tuple[int, dict[str, Any]]:
    answer = app.handler(event("GET", path), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def expected(world: World, version: str) -> np.ndarray:
    return world.load("mnist", version).predictor.predict(BATCH)


@pytest.mark.parametrize("is_binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("is_binary_out", [True, False, None], ids=["binary out", "JSON out", "all outputs"])
def test_the_client_of_triton_reads_the_models_own_probabilities(
    world: World, is_binary_in: bool, is_binary_out: bool | None
) -> None:
    version = world.serve(seed=4)
    tensor = InferInput("x", list(BATCH.shape), "UINT8")
    tensor.set_data_from_numpy(BATCH, binary_data=is_binary_in)
    outputs = None
    if is_binary_out is not None:
        outputs = [InferRequestedOutput("probabilities", binary_data=is_binary_out)]
    body, length = InferenceServerClient.generate_request_body([tensor], outputs=outputs, request_id="r-7")
    status, headers, raw = post(bytes(body), length)
    assert status == 200, raw
    assert (HEADER_LENGTH in headers) == (is_binary_out is not False)
    size = headers.get(HEADER_LENGTH)
    result = InferResult.from_response_body(raw, header_length=None if size is None else int(size))
    assert np.array_equal(result.as_numpy("probabilities"), expected(world, version))
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("r-7", "mnist", version)
    assert response["outputs"][0]["shape"] == [2, 10]


def test_data_may_be_nested_as_the_shape_is(world: World) -> None:
    version = world.serve()
    for data in (BATCH.tolist(), BATCH.ravel().tolist()):
        status, headers, raw = post(inference(shape=[2, 28, 28], data=data))
        assert (status, headers["Content-Type"]) == (200, "application/json")
        found = np.array(json.loads(raw)["outputs"][0]["data"], np.float32).reshape(2, 10)
        assert np.array_equal(found, expected(world, version))


def test_an_answer_without_an_id_has_none(world: World) -> None:
    world.serve()
    assert "id" not in json.loads(post(inference())[2])


def test_server_and_model_describe_themselves(world: World) -> None:
    version = world.serve()
    assert get("/v2") == (200, {"name": "lehr", "version": "0.1.0", "extensions": ["binary_tensor_data"]})
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"ready": True})
    described = {
        "name": "mnist",
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    assert get("/v2/models/mnist") == get(f"/v2/models/mnist/versions/{version}") == (200, described)
    ready = (200, {"name": "mnist", "ready": True})
    assert get("/v2/models/mnist/ready") == get(f"/v2/models/mnist/versions/{version}/ready") == ready


def test_the_server_is_alive_without_store_or_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "champions", lambda: pytest.fail("nothing may be built"))
    assert get("/v2/health/live")[0] == get("/v2/health/ready")[0] == get("/v2")[0] == 200


@pytest.mark.parametrize("rest", ["", "/ready", "/infer"])
def test_a_version_that_does_not_serve_is_not_found_and_the_serving_one_named(
    world: World, rest: str
) -> None:
    version = world.serve()
    path = f"/v2/models/mnist/versions/0123456789abcdef{rest}"
    status, answer = (
        (lambda found: (found[0], json.loads(found[2])))(post(inference(), path=path))
        if rest == "/infer"
        else get(path)
    )
    assert status == 404
    assert answer.keys() == {"error"}
    assert version in answer["error"]


def test_the_serving_version_answers_by_its_name(world: World) -> None:
    version = world.serve()
    assert post(inference(), path=f"/v2/models/mnist/versions/{version}/infer")[0] == 200


def test_a_model_that_does_not_serve_is_not_ready(world: World) -> None:
    world.push("fresh")
    status, answer = get("/v2/models/fresh/ready")
    assert status == 503
    assert "lehr train fresh" in answer["error"]
    assert get("/v2/models/nobody/ready")[0] == 404


@pytest.mark.parametrize("case", PROTOCOL_REFUSED, ids=lambda case: case.name)
def test_what_is_wrong_is_refused_in_the_protocols_form(case: ProtocolCase, world: World) -> None:
    world.serve()
    status, headers, raw = post(case.body, case.header_length)
    answer = json.loads(raw)
    assert (status, answer.keys(), headers["Content-Type"]) == (case.status, {"error"}, "application/json")
    assert case.says in answer["error"]
    assert len(raw) < 500


def test_a_path_of_the_protocol_that_is_none_is_refused_in_its_form(world: World) -> None:
    assert get("/v2/nothing")[1].keys() == {"error"}
    answer = app.handler(event("DELETE", "/v2/models/mnist"), CONTEXT)
    assert (answer["statusCode"], answer["headers"]["Allow"]) == (405, "GET")
    assert json.loads(answer["body"]).keys() == {"error"}


def test_what_was_not_foreseen_is_an_error_in_its_form_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "champions", lambda: 1 / 0)
    status, answer = get("/v2/models/mnist")
    assert status == 500
    assert answer.keys() == {"error"}
    assert "request-1" in answer["error"]


def test_the_largest_batch_is_the_stated_one(world: World) -> None:
    world.serve()
    full = np.zeros((MAX_BATCH, 28, 28), np.uint8)
    body = inference(shape=[MAX_BATCH, 28, 28], parameters={"binary_data_size": full.nbytes}, data=None)
    status, _, raw = post(body + full.tobytes(), len(body))
    assert status == 200
    assert json.loads(raw)["outputs"][0]["shape"] == [MAX_BATCH, 10]


def test_every_dtype_of_a_signature_has_a_datatype() -> None:
    assert {
        tiny_models.signature().input.dtype: "UINT8",
        "int16": "INT16",
        tiny_models.signature().output.dtype: "FP32",
    } == DATATYPES


def sized(rows: int = 1) -> bytes:
    """A header that wants bytes back and says that those of `rows` images are behind it."""
    return inference(
        data=None,
        shape=[rows, 28, 28],
        parameters={"binary_data_size": rows * 784},
        PARAMETERS={"binary_data_output": True},
    )


def test_the_same_header_before_other_bytes_is_another_request(world: World) -> None:
    """What a header says is remembered, what is behind it never."""
    wanted = expected(world, world.serve())
    header = sized()
    for row in (0, 1, 0):
        status, headers, body = post(header + BATCH[row].tobytes(), len(header))
        assert status == 200
        found = np.frombuffer(body[int(headers[HEADER_LENGTH]) :], "<f4")
        np.testing.assert_allclose(found, wanted[row], atol=1e-6)
    status, _, body = post(header + BATCH[0].tobytes()[:-1], len(header))
    assert (status, b"783 bytes" in body) == (422, True)
    status, _, body = post(header, len(header))
    assert (status, b"0 bytes" in body) == (422, True)


def test_a_remembered_header_is_one_model_s(world: World) -> None:
    """The same bytes for a model of another shape are refused, also after they were right for the first."""
    header = sized()
    encoded = base64.b64encode(header + BATCH[0].tobytes()).decode()
    request = Request(
        event(
            "POST",
            PATH,
            encoded,
            headers={HEADER_LENGTH.lower(): str(len(header))},
            isBase64Encoded=True,
        )
    )
    _, found = read_infer(request, tiny_models.signature())
    assert np.array_equal(found, BATCH[:1])
    with pytest.raises(Problem, match="It is not the model's"):
        read_infer(request, tiny_models.signature(shape=[-1, 784]))
    _, again = read_infer(request, tiny_models.signature())
    assert np.array_equal(again, BATCH[:1])
