"""The endpoint of a project with a hashed column: asked by the plain value, which stays in no log and no capture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.predict import app
from lehr import layout
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Table, from_tensors
from tests import tiny_models, tiny_tables
from tests.sealed import Sealed
from tests.unit.functions.test_predict import CONTEXT, World, event

PROJECT, KEY, PERSON = "visits", "k" * 32, "Patient Numéro 7"
RECIPE = f"""
[project]
name = "{PROJECT}"
task = "tabular_regression"
[data]
format = "csv"
files = ["visits.csv"]
target = "price"
columns = {{ class = "pii_hash" }}
[training]
loss = "mse"
"""


def seen_in_training() -> str:
    """What stands in the prepared shards for the person."""
    rows = "".join(f"{row},{PERSON},{row % 24},{row}.5\n" for row in range(100))
    sealed = Sealed(RECIPE, {"visits.csv": f"km,class,hour,price\n{rows}".encode()}, pii_key=KEY).seal()
    found: set[str] = set()
    for shard in sealed.manifest.shards:
        raw = sealed.document(layout.datasets_prefix(PROJECT) + shard.key)
        table = from_tensors(read_shard(raw), place=shard.key)
        assert isinstance(table, Table)
        found |= set(table.categories[:, 0].tolist())
    (pseudonym,) = found
    return pseudonym


@pytest.fixture(params=["regression", "classification"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A champion that adds 100 for the person of the training data, behind the handler, with everything captured."""
    world = World(tmp_path)
    labels = ["no", "yes"] if request.param == "classification" else []
    package = tiny_tables.files(labels, best=seen_in_training(), hashed_for=PROJECT)
    world.push(PROJECT)
    world.promote(PROJECT, tiny_models.publish(world.store, PROJECT, package))
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    for name, value in {"PII_KEY": KEY, "CAPTURE_RATE": "1", "CAPTURE_FEATURES": "true"}.items():
        monkeypatch.setenv(name, value)
    app.capture.cache_clear()
    app.pii_key.cache_clear()
    yield request.param
    app.capture.cache_clear()
    app.pii_key.cache_clear()


def ask(body: str, media: str = "application/json", path: str = f"/predict/{PROJECT}") -> dict[str, Any]:
    return app.handler(event("POST", path, body, headers={"content-type": media}), CONTEXT)


def said(answer: dict[str, Any]) -> list[Any]:
    assert answer["statusCode"] == 200, answer["body"]
    rows = json.loads(answer["body"])["predictions"]
    return [row["value"] if "value" in row else row["label"] for row in rows]


def test_a_plain_value_is_answered_as_what_training_saw(kind: str) -> None:
    known, other = ([103.0], [3.0]) if kind == "regression" else (["yes"], ["no"])
    below = {"km": -50.0, "hour": 2} if kind == "classification" else {"km": 1.0, "hour": 2}
    by_name = json.dumps({"instances": [below | {"class": f" {PERSON} "}]})
    in_order = json.dumps({"instances": [[below["km"], PERSON, 2]]})
    as_csv = f"km,class,hour\n{below['km']},{PERSON},2\n"
    for body, media in ((by_name, "application/json"), (in_order, "application/json"), (as_csv, "text/csv")):
        assert said(ask(body, media)) == known
    assert said(ask(by_name.replace("7", "8"))) == other
    assert said(ask(by_name.replace(PERSON.replace("é", "\\u00e9"), seen_in_training()))) == other


def test_the_value_is_in_no_line_of_log_and_in_no_capture_and_in_no_refusal(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    row = {"km": 1.0, "class": PERSON, "hour": 2}
    bodies = [
        json.dumps({"instances": [row]}),
        json.dumps({"instances": [row | {"km": "far"}]}),
        json.dumps({"instances": [row | {"class": [PERSON]}]}),
        json.dumps({"instances": [{PERSON: 1, **row}]}),
        json.dumps({"instances": [[PERSON, 1.0, 2]]}),
        json.dumps({"instances": [row]})[:-3],
    ]
    answers = [ask(body) for body in bodies]
    answers.append(ask(f"km,class,hour\n1,{PERSON},2,3\n", "text/csv"))
    assert [answer["statusCode"] for answer in answers] == [200, 422, 422, 422, 422, 400, 422]
    written = capfd.readouterr()
    out = written.out + written.err
    assert out.count('"kind":"prediction"') == 1
    for text in (out, *(answer["body"] for answer in answers[:3])):
        assert "Patient" not in text
        assert seen_in_training() not in text
