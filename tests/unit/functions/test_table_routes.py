"""The endpoint over models of tables, through its handler: by name, as CSV, with values, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from functions.predict import app
from functions.predict.capture import Capture
from functions.predict.catalogue import Catalogue
from lehr.contracts.capture import PredictionCapture
from lehr.errors import ModelPackageError
from lehr.json_log import JsonLog
from lehr_runtime.packages import load_package
from tests import tiny_models, tiny_tables
from tests.fakes import InMemoryObjectStore
from tests.unit.functions.test_predict import CONTEXT, World, call, event

LABELS = ["low", "high"]
INSTANCES = [{"km": 1.5, "class": "best", "hour": 2}, {"km": None, "class": None, "hour": -7}]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    for name, labels, has_categories in (
        ("fares", [], True),
        ("classes", LABELS, True),
        ("plain", [], False),
    ):
        world.push(name)
        package = tiny_tables.files(labels, has_categories=has_categories)
        world.promote(name, tiny_models.publish(world.store, name, package))
    return world


def post(path: str, body: Any, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    text = body if isinstance(body, str) else json.dumps(body)
    return call("POST", path, text, headers={"content-type": kind})


def test_a_regression_answers_with_values(world: World) -> None:
    status, answer = post("/predict/fares", {"instances": INSTANCES})
    assert status == 200
    assert answer["predictions"] == [{"value": 103.5}, {"value": -7.0}]
    assert answer.keys() == {"project", "model_version", "predictions", "latency_ms"}


def test_a_classification_answers_with_labels_and_takes_top_k(world: World) -> None:
    body = json.dumps({"instances": INSTANCES})
    status, answer = call("POST", "/predict/classes", body, rawQueryString="top_k=1")
    assert status == 200
    assert [one["label"] for one in answer["predictions"]] == ["high", "low"]
    assert all(list(one["probabilities"]) == [one["label"]] for one in answer["predictions"])


def test_csv_by_name_is_taken(world: World) -> None:
    status, answer = post("/predict/fares", "hour,class,km\n2,best,1.5\n-7,NA,\n", "text/csv")
    assert (status, answer["predictions"]) == (200, [{"value": 103.5}, {"value": -7.0}])


def test_a_model_says_which_columns_it_takes(world: World) -> None:
    _, answer = call("GET", "/models/fares")
    assert answer["table"] == {
        "columns": [
            {"name": "km", "kind": "number"},
            {"name": "class", "kind": "category"},
            {"name": "hour", "kind": "number"},
        ],
        "target": "price",
    }


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        ({"instances": [{"km": 1, "class": "best"}]}, "application/json", 422, "instances[0].hour"),
        ({"instances": [{"km": "1", "class": "x", "hour": 1}]}, "application/json", 422, "instances[0].km"),
        ("km,class,hour\nfar,best,1\n", "text/csv", 422, "rows[0]"),
        ("{", "application/json", 400, None),
        ("x", "image/png", 415, None),
    ],
)
def test_what_does_not_fit_is_refused_without_being_repeated(
    body: Any, kind: str, status: int, field: str | None, world: World
) -> None:
    found, document = post("/predict/fares", body, kind)
    assert (found, document.get("field")) == (status, field)
    assert "far" not in str(document)


def test_the_protocol_serves_numbers_and_says_where_categories_are_taken(world: World) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]}
    answer = app.handler(event("POST", "/v2/models/plain/infer", json.dumps({"inputs": [tensor]})), CONTEXT)
    assert json.loads(answer["body"])["outputs"] == [
        {"name": "values", "datatype": "FP32", "shape": [1, 1], "data": [3.5]}
    ]
    refused = app.handler(event("POST", "/v2/models/fares/infer", json.dumps({"inputs": [tensor]})), CONTEXT)
    assert refused["statusCode"] == 422
    assert "/predict/fares" in json.loads(refused["body"])["error"]


def test_the_protocol_describes_text_beside_numbers(world: World) -> None:
    _, answer = call("GET", "/v2/models/fares")
    assert [(one["name"], one["datatype"], one["shape"]) for one in answer["inputs"]] == [
        ("x", "FP32", [-1, 2]),
        ("categories", "BYTES", [-1, 1]),
    ]
    _, answer = call("GET", "/v2/models/plain")
    assert [one["name"] for one in answer["inputs"]] == ["x"]


def test_a_number_has_no_top_labels(world: World) -> None:
    body = json.dumps({"instances": INSTANCES})
    status, answer = call("POST", "/predict/fares", body, rawQueryString="top_k=1")
    assert (status, answer["field"]) == (422, "top_k")
    assert "predicts a number" in answer["detail"]


def test_a_table_is_captured_by_its_numbers_that_are_there(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "capture", lambda: Capture(1.0, JsonLog(), has_features=True))
    for name in ("fares", "classes"):
        assert post(f"/predict/{name}", {"instances": INSTANCES})[0] == 200
    lines = [line for line in capsys.readouterr().out.splitlines() if '"kind":"prediction"' in line]
    values, labels = (PredictionCapture.from_json(line) for line in lines)
    assert (values.inputs.count, values.rows, values.predictions, values.features) == (3, 2, [], None)
    assert [one.label for one in labels.predictions] == ["high", "low"]


@pytest.mark.parametrize("has_categories", [True, False])
def test_a_signature_that_is_not_the_graphs_is_refused(has_categories: bool, tmp_path: Path) -> None:
    package = tiny_tables.files([], has_categories=has_categories)
    package["signature.json"] = tiny_tables.signature([], has_categories=not has_categories).to_json()
    store = InMemoryObjectStore()
    version = tiny_models.publish(store, "fares", package)
    with pytest.raises(ModelPackageError, match="inputs"):
        load_package(store, "fares", version, directory=tmp_path, threads=1)
