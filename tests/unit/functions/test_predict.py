"""The endpoint: what a client sends gets an answer or a problem document, and never a 5xx."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions.predict import app, handlers
from functions.predict.bodies import MAX_BODY_BYTES, decode_base64
from functions.predict.catalogue import Catalogue
from functions.predict.champions import MAX_PROJECTS, REFRESH_S, Champions
from functions.predict.requests import MAX_BATCH
from lehr import layout
from lehr.contracts.package import MODEL_FILE
from lehr.contracts.registry import Alias
from lehr.errors import NoChampionError, UnknownProjectError
from lehr.json_log import JsonLog
from lehr_runtime.packages import LoadedModel, load_package
from tests import tiny_models
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry
from tests.unit.functions.corpus import ACCEPTED, DEEP, GOOD, IMAGE, REFUSED, Case, inputs

CONTEXT = SimpleNamespace(
    function_name="predict",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:predict",
    aws_request_id="request-1",
)


class World:
    """A store, a registry, a clock, and the champions over them."""

    def __init__(self, directory: Path) -> None:
        self.store, self.registry, self.now = InMemoryObjectStore("artifacts"), InMemoryRegistry(), 100.0
        self.directory = directory
        self.loads: list[str] = []
        self.champions = Champions(
            self.store,
            self.registry,
            self.load,
            JsonLog(),
            clock=lambda: self.now,
            spawn=lambda work: work(),
        )

    def load(self, project: str, version: str) -> LoadedModel:
        self.loads.append(version)
        return load_package(self.store, project, version, directory=self.directory, threads=1)

    def push(self, project: str) -> None:
        self.store.put(layout.project_head_key(project), b"{}")

    def promote(self, project: str, version: str) -> None:
        current = self.registry.alias(project)
        self.registry.promote(project, version, run=version, generation=current.generation if current else 0)

    def serve(self, project: str = "mnist", seed: int = 0) -> str:
        self.push(project)
        version = tiny_models.publish(self.store, project, tiny_models.files(seed))
        self.promote(project, version)
        return version


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    return world


def event(method: str, path: str, body: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "stage": "$default",
            "requestId": "gateway-1",
            "http": {"method": method, "path": path, "sourceIp": "127.0.0.1", "userAgent": "test"},
        },
        "body": body,
        "isBase64Encoded": False,
    } | more


def call(method: str, path: str, body: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    """Status and document; a refusal must be a whole problem document that repeats nothing dangerous."""
    answer = app.handler(event(method, path, body, **more), CONTEXT)
    kind = answer["headers"]["Content-Type"]
    if answer["statusCode"] == 200:
        if kind == "text/html; charset=utf-8":
            return 200, {}
        assert kind == "application/json"
        return 200, json.loads(answer["body"])
    document = json.loads(answer["body"])
    assert kind == "application/problem+json"
    assert document.keys() >= {"type", "title", "status", "detail"}
    assert document["status"] == answer["statusCode"]
    assert document["type"].startswith("urn:lehr:problem:")
    assert all(re.fullmatch(r"[ -~]*", str(value)) for value in document.values())
    assert len(answer["body"]) < 1000
    return answer["statusCode"], document


def send(case: Case) -> tuple[int, dict[str, Any]]:
    more: dict[str, Any] = {"headers": case.headers, "isBase64Encoded": case.is_encoded}
    return call("POST", "/predict/mnist", case.body, **more)


# --- what is answered


def test_predictions_are_those_of_the_model(world: World) -> None:
    version = world.serve(seed=4)
    batch = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    status, answer = call("POST", "/predict/mnist", inputs(batch.tolist()))
    expected = world.load("mnist", version).predictor.predict(batch)
    assert status == 200
    assert (answer["project"], answer["model_version"]) == ("mnist", version)
    assert answer["latency_ms"] > 0
    found = [[row["probabilities"][label] for label in tiny_models.LABELS] for row in answer["predictions"]]
    assert np.array_equal(np.array(found, np.float32), expected)
    assert [row["label"] for row in answer["predictions"]] == [str(best) for best in expected.argmax(axis=1)]
    assert [row["probability"] for row in answer["predictions"]] == [max(row) for row in found]


def test_a_bare_image_is_a_batch_of_one(world: World) -> None:
    world.serve()
    answers = [call("POST", "/predict/mnist", inputs(value))[1] for value in (IMAGE, [IMAGE])]
    assert answers[0]["predictions"] == answers[1]["predictions"]
    assert len(answers[0]["predictions"]) == 1


def test_the_serving_model_is_described(world: World) -> None:
    version = world.serve()
    status, answer = call("GET", "/models/mnist")
    assert status == 200
    assert answer == {
        "project": "mnist",
        "model_version": version,
        "generation": 1,
        "task": "image_classification",
        "labels": tiny_models.LABELS,
        "input": {"dtype": "uint8", "shape": [-1, 28, 28]},
        "sample_rate": None,
        "table": None,
        "files": {
            name: {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
            for name, raw in tiny_models.files().items()
        },
        "metrics": None,
        "card": None,
        "training": None,
        "lineage": None,
    }


def test_health_needs_neither_store_nor_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "champions", lambda: pytest.fail("nothing may be built"))
    assert call("GET", "/health") == (200, {"status": "ok"})


# --- what is refused


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_is_unusual_but_right_is_answered(case: Case, world: World) -> None:
    world.serve()
    assert send(case)[0] == case.status


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_wrong_is_refused_with_its_place(case: Case, world: World) -> None:
    world.serve()
    status, document = send(case)
    assert (status, document.get("field")) == (case.status, case.field)
    if case.status == 422:
        assert document["expected"]
        assert document["got"]


def test_the_corpus_is_not_shrinking() -> None:
    assert len(REFUSED) >= 100
    assert len({case.name for case in REFUSED + ACCEPTED}) == len(REFUSED + ACCEPTED)


def test_a_value_that_was_sent_is_not_repeated(world: World) -> None:
    world.serve()
    for secret in ("424242", '"s3cret"', "1.424242"):
        body = GOOD.replace("[[[0,", f"[[[{secret},", 1)
        assert secret in body
        answer = app.handler(event("POST", "/predict/mnist", body), CONTEXT)
        assert answer["statusCode"] == 422
        assert secret.strip('"') not in answer["body"]


def test_a_mistyped_field_is_answered_with_the_right_one(world: World) -> None:
    world.serve()
    _, document = call("POST", "/predict/mnist", '{"input": []}')
    assert 'Did you mean "inputs"?' in document["detail"]


def test_a_body_that_is_too_large_is_not_parsed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.serve()
    monkeypatch.setattr(handlers, "parse_inputs", lambda *_: pytest.fail("parsed"))
    assert call("POST", "/predict/mnist", "[" * (MAX_BODY_BYTES + 1))[0] == 413


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "/predict",
        "/predict/",
        "/predict/mnist/",
        "//predict/mnist",
        "/predict/a/b",
        "/predict/../health",
        "/health/",
        "/PREDICT/mnist",
        "/\r\nX: y",
        "/predict/mnist\x00/x",
        "/%2e%2e/health",
    ],
)
def test_an_unknown_route_is_not_found(path: str, world: World) -> None:
    world.serve()
    status, document = call("POST", path, GOOD)
    assert (status, document["type"]) == (404, "urn:lehr:problem:unknown-route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict/mnist", "POST"),
        ("DELETE", "/predict/mnist", "POST"),
        ("OPTIONS", "/predict/mnist", "POST"),
        ("BREW", "/predict/mnist", "POST"),
        ("POST", "/models/mnist", "GET"),
        ("PUT", "/health", "GET"),
        ("HEAD", "/health", "GET"),
        ("POST", "/", "GET"),
        ("POST", "/docs", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allowed: str, world: World) -> None:
    answer = app.handler(event(method, path), CONTEXT)
    assert (answer["statusCode"], answer["headers"]["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "project",
    [
        "nobody",
        "MNIST",
        "..",
        ".",
        "%2e%2e",
        "mnist%00",
        "a" * 64,
        "-mnist",
        "mnist_",
        "é",
        "m n",
        "<b>",
        "a'b",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/predict/"), ("GET", "/models/")])
def test_a_project_that_nobody_pushed_is_not_found(
    method: str, path: str, project: str, world: World
) -> None:
    world.serve()
    status, document = call(method, path + project, GOOD)
    assert status == 404
    assert project == "." or project not in document["detail"]


def test_a_project_without_a_champion_says_how_to_train(world: World) -> None:
    world.push("fresh")
    for method, path in (("POST", "/predict/fresh"), ("GET", "/models/fresh")):
        status, document = call(method, path, GOOD)
        assert status == 503
        assert "lehr train fresh" in document["detail"]
        answer = app.handler(event(method, path, GOOD), CONTEXT)
        assert int(answer["headers"]["Retry-After"]) > 0


def test_what_was_not_foreseen_is_one_500_with_the_id_only(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("s3cret")

    world.serve()
    monkeypatch.setattr(handlers, "parse_inputs", broken)
    status, document = call("POST", "/predict/mnist", GOOD)
    assert (status, document["request_id"]) == (500, "request-1")
    assert "s3cret" not in json.dumps(document)
    monkeypatch.undo()
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    assert call("POST", "/predict/mnist", GOOD)[0] == 200


def test_an_event_that_is_none_is_a_500_and_not_an_exception() -> None:
    assert app.handler({}, CONTEXT)["statusCode"] == 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
bodies = st.one_of(
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps({"inputs": value}).encode()),
    st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=4)).map(
        lambda cut: GOOD.encode()[: cut[0]] + cut[1] + GOOD.encode()[cut[0] + len(cut[1]) :]
    ),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, st.booleans(), st.booleans())
@example(b"[" * DEEP, True, True)
@example(b"", True, True)
def test_no_body_makes_the_endpoint_fail(
    world: World, raw: bytes, is_encoded: bool, is_announced: bool
) -> None:
    if not world.registry.aliases:
        world.serve()
    body = base64.b64encode(raw).decode() if is_encoded else raw.decode("utf-8", "surrogateescape")
    status, _ = call("POST", "/predict/mnist", body, isBase64Encoded=is_announced)
    assert status in {200, 400, 413, 422}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD"]) | st.text(max_size=6),
    st.text(max_size=20)
    | st.sampled_from(["/predict/", "/models/"]).flatmap(
        lambda start: st.text(max_size=70).map(lambda rest: start + rest)
    ),
    st.dictionaries(st.text(max_size=8) | st.just("content-type"), st.text(max_size=20), max_size=2),
)
def test_no_method_path_or_header_makes_the_endpoint_fail(
    world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    status, _ = call(method, path, GOOD, headers=headers)
    assert status in {200, 400, 404, 405, 415}


# --- which model answers


def test_a_new_champion_answers_after_the_refresh_and_not_before(world: World) -> None:
    first = world.serve(seed=1)
    assert call("GET", "/models/mnist")[1]["model_version"] == first
    second = world.serve(seed=2)
    world.now += REFRESH_S - 1
    assert call("GET", "/models/mnist")[1]["model_version"] == first
    world.now += 1
    answer = call("GET", "/models/mnist")[1]
    assert (answer["model_version"], answer["generation"]) == (second, 2)
    assert world.loads == [first, second]


def test_the_alias_is_read_once_in_thirty_seconds(world: World) -> None:
    world.serve()
    reads = world.registry.alias_reads
    for _ in range(20):
        world.champions.get("mnist")
        world.now += REFRESH_S / 10
    assert world.registry.alias_reads == reads + 2
    assert len(world.loads) == 1


def test_a_rollback_to_the_same_version_is_not_loaded_again(world: World) -> None:
    version = world.serve()
    world.champions.get("mnist")
    world.registry.aliases["mnist"] = Alias(
        project="mnist", champion=version, generation=5, owner="other", updated_at=NOW
    )
    world.now += REFRESH_S
    assert world.champions.get("mnist").generation == 5
    assert len(world.loads) == 1


@pytest.mark.parametrize("fault", ["registry", "corrupt", "absent", "nan"])
def test_a_refresh_that_fails_leaves_the_old_model_serving(fault: str, world: World) -> None:
    first = world.serve(seed=1)
    world.champions.get("mnist")
    if fault == "registry":
        world.registry.faults = [ConnectionError("no route")]
    elif fault == "nan":
        weights = tiny_models.weights()
        weights[:] = np.nan
        broken = tiny_models.files() | {MODEL_FILE: tiny_models.graph(weights).SerializeToString()}
        world.promote("mnist", tiny_models.publish(world.store, "mnist", broken))
    else:
        second = world.serve(seed=2)
        key = layout.model_file_key("mnist", second, MODEL_FILE)
        if fault == "corrupt":
            world.store.put(key, world.store.objects[key][:-1] + b"\0")
        else:
            del world.store.objects[key]
    world.now += REFRESH_S
    loads = len(world.loads)
    for _ in range(3):
        assert call("POST", "/predict/mnist", GOOD)[1]["model_version"] == first
    assert len(world.loads) <= loads + 1


def test_a_first_model_that_cannot_be_loaded_is_no_champion(world: World) -> None:
    version = world.serve()
    del world.store.objects[layout.model_file_key("mnist", version, MODEL_FILE)]
    with pytest.raises(NoChampionError):
        world.champions.get("mnist")
    assert call("POST", "/predict/mnist", GOOD)[0] == 503


def test_a_champion_that_was_taken_away_serves_no_longer(world: World) -> None:
    world.serve()
    world.champions.get("mnist")
    world.registry.aliases.clear()
    world.now += REFRESH_S
    with pytest.raises(NoChampionError):
        world.champions.get("mnist")


def test_a_first_promotion_is_seen_at_once(world: World) -> None:
    world.push("mnist")
    with pytest.raises(NoChampionError):
        world.champions.get("mnist")
    version = world.serve()
    assert world.champions.get("mnist").model.version == version


def test_models_of_few_projects_are_kept(world: World) -> None:
    names = [f"project-{number}" for number in range(MAX_PROJECTS + 1)]
    for name in names:
        world.serve(name)
        world.champions.get(name)
    loads = len(world.loads)
    world.champions.get(names[-1])
    assert len(world.loads) == loads
    world.champions.get(names[0])
    assert len(world.loads) == loads + 1


def test_names_that_are_none_never_reach_the_registry(world: World) -> None:
    with pytest.raises(UnknownProjectError):
        world.champions.get("../mnist")
    assert world.registry.alias_reads == 0


def test_the_largest_batch_is_the_stated_one(world: World) -> None:
    world.serve()
    status, answer = call("POST", "/predict/mnist", inputs([[[0] * 28] * 28] * MAX_BATCH))
    assert (status, len(answer["predictions"])) == (200, MAX_BATCH)


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda raw: base64.b64encode(raw).decode()),
        st.text(alphabet='QUJDRA+/=-_ \n"\\'),
    )
)
def test_base64_is_read_as_strictly_as_binascii_reads_it(text: str) -> None:
    try:
        wanted = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        wanted = None
    assert decode_base64(text) == wanted
