"""The endpoint beyond JSON rows: images, CSV, top k, models, pages, metrics, and what the description says of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from functions.predict import app
from functions.predict.bodies import MAX_BINARY_BYTES
from functions.predict.catalogue import MAX_PROJECTS_LISTED, Catalogue
from functions.predict.pages import ASSETS
from functions.predict.requests import MAX_BATCH, parse_inputs
from functions.predict.routes import ROUTES, TABLE
from lehr import layout
from lehr.contracts.package import CARD_FILE, LINEAGE_FILE, TRAINING_FILE, Lineage, TensorSpec
from lehr.http.gateway import Request
from lehr.http.problems import Problem
from tests import tiny_models
from tests.unit.functions.corpus import (
    CSV_ROW,
    GOOD,
    IMAGE,
    MEDIA_REFUSED,
    PROTOCOL_REFUSED,
    REFUSED,
    MediaCase,
    inference,
    png,
)
from tests.unit.functions.test_package_model import summary
from tests.unit.functions.test_predict import CONTEXT, World, call, event

DESCRIPTION = json.loads((Path(app.__file__).parent / "openapi.json").read_text())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    return world


def send(body: bytes, kind: str, query: str = "") -> tuple[int, dict[str, Any]]:
    """As API Gateway hands it over: text as text, anything else as base64."""
    is_text = kind.startswith("text/")
    text = body.decode() if is_text else base64.b64encode(body).decode()
    return call(
        "POST",
        "/predict/mnist",
        text,
        headers={"content-type": kind},
        isBase64Encoded=not is_text,
        rawQueryString=query,
    )


def expected() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("POST", "/predict/mnist", GOOD)[1]["predictions"]
    return found


# --- images and rows


def test_an_image_a_base64_image_and_a_csv_row_are_the_same_prediction(world: World) -> None:
    world.serve()
    encoded = base64.b64encode(png()).decode()
    wanted = expected()
    assert send(png(), "image/png")[1]["predictions"] == wanted
    assert call("POST", "/predict/mnist", json.dumps({"image": encoded}))[1]["predictions"] == wanted
    assert (
        call("POST", "/predict/mnist", json.dumps({"images": [encoded] * 2}))[1]["predictions"] == wanted * 2
    )
    assert send(CSV_ROW, "text/csv")[1]["predictions"] == wanted
    assert send(CSV_ROW * 3, "text/csv; charset=utf-8")[1]["predictions"] == wanted * 3


def test_a_jpeg_is_taken(world: World) -> None:
    world.serve()
    target = io.BytesIO()
    Image.fromarray(np.array(IMAGE, np.uint8)).save(target, "JPEG")
    status, answer = send(target.getvalue(), "image/jpeg")
    assert (status, len(answer["predictions"])) == (200, 1)


@pytest.mark.parametrize("case", MEDIA_REFUSED, ids=lambda case: case.name)
def test_what_is_no_image_and_no_row_is_refused_with_its_place(case: MediaCase, world: World) -> None:
    world.serve()
    status, document = send(case.body, case.kind, case.query)
    assert (status, document.get("field")) == (case.status, case.field)
    if case.status == 422:
        assert document["expected"]
        assert document["got"]


def test_many_small_files_that_claim_many_pixels_are_refused_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve()
    target = io.BytesIO()
    Image.new("1", (4000, 4000)).save(target, "PNG")
    encoded = base64.b64encode(target.getvalue()).decode()
    monkeypatch.setattr("functions.predict.media.decode_image", lambda *_, **__: pytest.fail("decoded"))
    status, document = call("POST", "/predict/mnist", json.dumps({"images": [encoded] * 2}))
    assert (status, document["field"]) == (422, "images[1]")


def test_the_corpus_over_all_protocols_is_not_shrinking() -> None:
    assert len(REFUSED) + len(PROTOCOL_REFUSED) + len(MEDIA_REFUSED) >= 180


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["image/png", "image/jpeg", "text/csv", "application/octet-stream"]),
    st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: png()[:60] + tail),
    st.text(max_size=20),
)
def test_no_media_and_no_query_makes_the_endpoint_fail(
    world: World, kind: str, raw: bytes, query: str
) -> None:
    if not world.registry.aliases:
        world.serve()
    more: dict[str, Any] = {
        "headers": {"content-type": kind},
        "isBase64Encoded": True,
        "rawQueryString": query,
    }
    text = base64.b64encode(raw).decode()
    assert call("POST", "/predict/mnist", text, **more)[0] in {200, 400, 413, 415, 422}
    answer = app.handler(event("POST", "/v2/models/mnist/infer", text, **more), CONTEXT)
    assert answer["statusCode"] in {200, 400, 413, 415, 422}


# --- top k


def test_top_k_gives_the_likeliest_first(world: World) -> None:
    world.serve()
    (whole,) = expected()
    _, answer = call("POST", "/predict/mnist", GOOD, rawQueryString="top_k=3")
    (found,) = answer["predictions"]
    ranked = sorted(whole["probabilities"].items(), key=lambda pair: pair[1], reverse=True)
    assert list(found["probabilities"].items()) == ranked[:3]
    assert (found["label"], found["probability"]) == ranked[0]


# --- float32 models


FLOATS = TensorSpec(name="x", dtype="float32", shape=[-1, 3])


def test_floats_are_taken_as_the_nearest_float32() -> None:
    found = parse_inputs(b'{"inputs": [[1, 2.5, -1e-3], [0.1, 3e38, 4]]}', FLOATS)
    assert found.dtype == np.float32
    assert found.tolist() == np.array([[1, 2.5, -1e-3], [0.1, 3e38, 4]], np.float32).tolist()
    assert parse_inputs(b'{"inputs": [1, 2, 3]}', FLOATS).shape == (1, 3)


@pytest.mark.parametrize("value", ["3.5e38", "-1e39", "true", '"1"', "null", "[]"])
def test_a_number_beyond_float32_is_refused_with_its_place(value: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_inputs(f'{{"inputs": [[1, 2, 3], [1, {value}, 3]]}}'.encode(), FLOATS)
    assert caught.value.document["field"] == "inputs[1][1]"
    assert "float32" in caught.value.document["expected"]


def test_a_model_of_numbers_takes_no_image() -> None:
    with pytest.raises(Problem) as caught:
        parse_inputs(json.dumps({"image": base64.b64encode(png()).decode()}).encode(), FLOATS)
    assert caught.value.status == 415


# --- models


def test_the_models_that_serve_are_listed(world: World) -> None:
    first, second = world.serve("alpha", seed=1), world.serve("beta", seed=2)
    world.push("fresh")
    world.store.put("projects/Not_A_Name/x", b"")
    assert call("GET", "/models") == (
        200,
        {
            "models": [
                {"project": "alpha", "model_version": first, "generation": 1},
                {"project": "beta", "model_version": second, "generation": 1},
            ],
            "is_truncated": False,
        },
    )
    assert world.loads == []


def test_a_long_list_of_projects_is_cut_and_says_so(world: World) -> None:
    for number in range(MAX_PROJECTS_LISTED + 1):
        world.push(f"project-{number:03d}")
    assert call("GET", "/models")[1] == {"models": [], "is_truncated": True}


def _serve_with_lineage(world: World) -> str:
    lineage = Lineage(
        project="mnist",
        run="run",
        trial="0",
        dataset_version="d" * 16,
        code_sha="c" * 16,
        training_job="job",
        image="image",
        instance_type="ml.m5.large",
        hyperparameters={},
    )
    world.push("mnist")
    files = tiny_models.files() | {
        LINEAGE_FILE: lineage.to_json(),
        CARD_FILE: "# mnist é\n".encode(),
        TRAINING_FILE: summary(0.875),
    }
    version = tiny_models.publish(world.store, "mnist", files)
    world.promote("mnist", version)
    return version


def test_a_model_says_where_it_comes_from_and_reads_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = _serve_with_lineage(world)
    kept = Catalogue(world.store, world.registry)
    monkeypatch.setattr(app, "catalogue", lambda: kept)
    answers = [call("GET", "/models/mnist") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][1]["lineage"]["dataset_version"] == "d" * 16
    assert answers[0][1]["card"] == "# mnist é\n"
    assert answers[0][1]["metrics"] == {
        "split": "validation",
        "epoch": 1,
        "accuracy": 0.875,
        "loss": 0.1,
        "rmse": None,
        "mae": None,
        "mean_iou": None,
        "map50": None,
    }
    assert world.store.reads.count(layout.model_file_key("mnist", version, LINEAGE_FILE)) == 1


def test_a_document_that_is_not_the_packages_is_not_shown(world: World) -> None:
    version = _serve_with_lineage(world)
    key = layout.model_file_key("mnist", version, LINEAGE_FILE)
    world.store.put(key, world.store.objects[key].replace(b"ml.m5", b"ml.p5"))
    assert call("GET", "/models/mnist")[0] == 500
    del world.store.objects[key]
    assert call("GET", "/models/mnist")[0] == 500


def test_a_package_without_curves_has_none(world: World) -> None:
    world.serve()
    answer = call("GET", "/models/mnist")[1]
    assert [answer[name] for name in ("training", "lineage", "card", "metrics")] == [None] * 4
    assert TRAINING_FILE not in answer["files"]


# --- routes and metrics


def test_every_route_of_the_table_is_found_and_no_other() -> None:
    for route in ROUTES:
        path = re.sub(r"{(\w+)}", r"a-\1", route.path)
        request = Request(event(route.method, path))
        assert TABLE.find(request) is route
        assert request.variables == {name: f"a-{name}" for name in re.findall(r"{(\w+)}", route.path)}


@pytest.mark.parametrize(
    ("path", "body", "metrics"),
    [
        ("/predict/mnist", GOOD, {"Requests", "RowsPredicted", "PredictLatency"}),
        ("/v2/models/mnist/infer", inference().decode(), {"Requests", "RowsPredicted", "PredictLatency"}),
        ("/predict/mnist", "", {"Requests"}),
        ("/nowhere", GOOD, {"Requests"}),
    ],
)
def test_each_request_writes_one_line_of_metrics(
    path: str, body: str, metrics: set[str], world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The form is that of the specification: CloudWatch drops, in silence, what is not."""
    world.serve()
    world.champions.get("mnist")
    capsys.readouterr()
    app.handler(event("POST", path, body), CONTEXT)
    (line,) = capsys.readouterr().out.splitlines()
    written = json.loads(line)
    (directive,) = written["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Lehr", [["service"]])
    assert {metric["Name"] for metric in directive["Metrics"]} == metrics
    assert all(isinstance(written[name], (int, float)) for name in metrics)
    assert isinstance(written["_aws"]["Timestamp"], int)
    assert written["service"]


# --- pages


def test_the_page_runs_its_own_script_and_loads_nothing() -> None:
    answer = app.handler(event("GET", "/"), CONTEXT)
    policy, html = answer["headers"]["Content-Security-Policy"], answer["body"]
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    inline = re.findall(r"<(script|style)>(.*?)</\1>", html, re.DOTALL)
    assert inline
    for kind, text in inline:
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        assert allowed in re.search(rf"{kind}-src ([^;]*)", policy)[1]  # type: ignore[index]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<(script|style|link|img|iframe)[^>]*(src|href)=", html)
    assert not re.search(r"\son\w+=|\sstyle=", html)


def test_the_page_of_the_api_loads_files_of_its_own_address_and_nothing_else() -> None:
    answer = app.handler(event("GET", "/docs"), CONTEXT)
    policy, html = answer["headers"]["Content-Security-Policy"], answer["body"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|<style>|\son\w+=|\sstyle=", html)
    loaded = re.findall(r"<(?:script src|link rel=\"stylesheet\" href)=\"/docs/([^\"]+)\"", html)
    assert set(loaded) == set(ASSETS)


@pytest.mark.parametrize("name", ASSETS)
@pytest.mark.parametrize("accepted", ["gzip, deflate, br", "", None])
def test_a_file_of_the_page_is_text_for_who_unpacks_and_for_who_does_not(
    name: str, accepted: str | None
) -> None:
    headers = {} if accepted is None else {"accept-encoding": accepted}
    answer = app.handler(event("GET", f"/docs/{name}", headers=headers), CONTEXT)
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == ASSETS[name]
    assert answer["headers"]["X-Content-Type-Options"] == "nosniff"
    raw = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    is_packed = answer["headers"].get("Content-Encoding") == "gzip"
    assert is_packed == (name.startswith("swagger-ui") and bool(accepted))
    assert ("immutable" in answer["headers"]["Cache-Control"]) == name.startswith("swagger-ui")
    text = (gzip.decompress(raw) if is_packed else raw).decode()
    marks = {"docs.css": "header {", "docs.js": "SwaggerUIBundle(", "signature.js": "AWS4-HMAC-SHA256"}
    assert marks.get(name, "swagger") in text
    assert len(json.dumps(answer)) < 6 << 20


@pytest.mark.parametrize(
    "name", ["nothing.js", "page.html", "..", "%2e%2e%2fapp.py", "swagger-ui.LICENSE.txt"]
)
def test_no_other_file_is_served(name: str) -> None:
    status, document = call("GET", f"/docs/{name}")
    assert (status, document["type"]) == (404, "urn:lehr:problem:unknown-file")


def test_the_description_is_served_as_it_is_kept() -> None:
    answer = app.handler(event("GET", "/openapi.json"), CONTEXT)
    assert answer["headers"]["Content-Type"] == "application/json"
    assert json.loads(answer["body"]) == DESCRIPTION


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/health", None),
        ("GET", "/models", None),
        ("GET", "/models/mnist", None),
        ("POST", "/predict/mnist", GOOD),
        ("POST", "/predict/mnist", '{"inputs": 1}'),
        ("GET", "/v2", None),
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/v2/models/mnist", None),
        ("GET", "/v2/models/mnist/ready", None),
        ("POST", "/v2/models/mnist/infer", inference().decode()),
        ("POST", "/v2/models/mnist/infer", "{}"),
    ],
)
def test_an_answer_is_what_the_description_says(
    method: str, path: str, body: str | None, world: World
) -> None:
    world.serve()
    answer = app.handler(event(method, path, body), CONTEXT)
    request = Request(event(method, path))
    operation = DESCRIPTION["paths"][TABLE.find(request).path][method.lower()]
    content = operation["responses"][str(answer["statusCode"])]["content"]
    schema = content[answer["headers"]["Content-Type"]]["schema"]
    jsonschema.validate(json.loads(answer["body"]), {**schema, "components": DESCRIPTION["components"]})


def test_a_body_of_the_stated_limit_is_read(world: World) -> None:
    """A PNG may be followed by anything: what matters is that its size is no reason to refuse it."""
    world.serve()
    assert send(png() + bytes(MAX_BINARY_BYTES - len(png())), "image/png")[0] == 200
    assert send(png() + bytes(MAX_BINARY_BYTES - len(png()) + 1), "image/png")[0] == 413


def test_the_largest_csv_is_the_stated_one(world: World) -> None:
    world.serve()
    row = b",".join([b"0"] * 784) + b"\n"
    assert len(send(row * MAX_BATCH, "text/csv")[1]["predictions"]) == MAX_BATCH
