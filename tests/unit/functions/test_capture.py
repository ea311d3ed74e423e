"""Capture: off by default, one line for each prediction of the sample, never an input that nobody opted in to."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from functions.predict import app
from functions.predict.capture import (
    MAX_LINE_BYTES,
    MAX_PREDICTIONS,
    Capture,
    count_columns,
    describe,
    summarise,
)
from functions.predict.requests import MAX_BATCH
from functions.predict.serving import fraction
from lehr.contracts.capture import HISTOGRAM_EDGES, MIN_VALUES, PredictionCapture
from lehr.contracts.package import REFERENCE_FILE
from lehr.contracts.reference import CategoryReference, ModelReference, NumberReference
from lehr_runtime.packages import load_package
from lehr_runtime.tables import Table
from tests import tiny_models
from tests.unit.functions.corpus import GOOD, inference, png
from tests.unit.functions.test_predict import CONTEXT, World, event

RNG = np.random.default_rng(5)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.serve()
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    return world


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the template's two variables for the handler."""

    def set_to(rate: str, features: str = "false") -> None:
        monkeypatch.setenv("CAPTURE_RATE", rate)
        monkeypatch.setenv("CAPTURE_FEATURES", features)
        app.capture.cache_clear()

    yield set_to
    app.capture.cache_clear()


def ask(path: str, body: str | bytes, kind: str = "application/json", request_id: str = "gateway-1") -> None:
    asked = event("POST", path, headers={"content-type": kind})
    asked["requestContext"]["requestId"] = request_id
    asked["isBase64Encoded"] = isinstance(body, bytes)
    asked["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    assert app.handler(asked, CONTEXT)["statusCode"] == 200


def lines(capsys: pytest.CaptureFixture[str]) -> list[PredictionCapture]:
    written = [line for line in capsys.readouterr().out.splitlines() if '"kind":"prediction"' in line]
    return [PredictionCapture.from_json(line) for line in written]


def test_by_default_nothing_is_captured(
    served: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAPTURE_RATE", raising=False)
    app.capture.cache_clear()
    ask("/predict/mnist", GOOD)
    assert app.capture() is None
    assert lines(capsys) == []


def test_every_route_and_media_type_is_captured_once(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capturing("1")
    row = np.arange(784, dtype=np.uint8)
    csv = ",".join(map(str, row.tolist()))
    inference_row = inference(data=row.tolist())
    requests: list[tuple[str, str | bytes, str]] = [
        ("/predict/mnist", GOOD, "application/json"),
        ("/predict/mnist", csv, "text/csv"),
        ("/predict/mnist", png(), "image/png"),
        ("/v2/models/mnist/infer", inference_row, "application/json"),
    ]
    for path, body, kind in requests:
        ask(path, body, kind)
    captured = lines(capsys)
    assert [(one.project, one.rows, len(one.predictions)) for one in captured] == [("mnist", 1, 1)] * 4
    assert {one.model_version for one in captured} == {served.champions.get("mnist").model.version}
    assert captured[1].inputs == captured[3].inputs == summarise(row[np.newaxis])
    assert captured[0].request_id == "gateway-1"


def test_what_is_refused_is_not_captured(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capturing("1")
    assert app.handler(event("POST", "/predict/mnist", '{"inputs": "x"}'), CONTEXT)["statusCode"] == 422
    assert lines(capsys) == []


def test_the_predictions_are_those_of_the_answer(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capturing("1")
    batch = RNG.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    body = json.dumps({"inputs": batch.tolist()})
    answer = json.loads(app.handler(event("POST", "/predict/mnist", body), CONTEXT)["body"])
    (captured,) = lines(capsys)
    assert [(one.label, one.probability) for one in captured.predictions] == [
        (one["label"], one["probability"]) for one in answer["predictions"]
    ]


@pytest.mark.parametrize("features", ["false", "true"])
def test_the_inputs_themselves_are_there_only_for_those_who_opted_in(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str], features: str
) -> None:
    capturing("1", features)
    batch = RNG.integers(0, 256, (2, 28, 28), dtype=np.uint8)
    ask("/predict/mnist", json.dumps({"inputs": batch.tolist()}))
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if '"kind":"prediction"' in line]
    captured = PredictionCapture.from_json(line)
    if features == "false":
        assert captured.features is None
        assert base64.b64encode(batch[0].tobytes())[:64].decode() not in line
    else:
        assert captured.features
        raw = base64.b64decode(captured.features.data)
        assert np.array_equal(np.frombuffer(raw, np.uint8).reshape(captured.features.shape), batch)


def test_a_share_of_the_requests_is_captured_and_always_the_same_ones(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capturing("0.25")
    ids = [f"request-{number}" for number in range(200)]
    found = []
    for _ in range(2):
        for one in ids:
            ask("/predict/mnist", GOOD, request_id=one)
        found.append([one.request_id for one in lines(capsys)])
    assert found[0] == found[1]
    assert 25 < len(found[0]) < 80


def test_who_is_captured_has_nothing_to_do_with_who_is_sent_to_a_canary(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capturing("0.25")
    ids = [f"request-{number}" for number in range(400)]
    for one in ids:
        ask("/predict/mnist", GOOD, request_id=one)
    captured = [one.request_id for one in lines(capsys)]
    of_canary = [one for one in captured if fraction(one) < 0.25]
    assert 0.1 < len(of_canary) / len(captured) < 0.45


def test_a_capture_that_fails_leaves_the_prediction_alone(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capturing("1")

    def fail(*_: object, **__: object) -> str:
        raise OSError("no room")

    monkeypatch.setattr("functions.predict.capture.describe", fail)
    ask("/predict/mnist", GOOD)
    assert lines(capsys) == []


@pytest.mark.parametrize("rows", [1, 7, MAX_BATCH])
@pytest.mark.parametrize("width", [1, 40_000, 1_000_000])
def test_a_line_fits_into_an_event_of_the_log(rows: int, width: int) -> None:
    batch = np.zeros((rows, width if rows * width <= 8_000_000 else 1000), dtype=np.float32)
    probabilities = np.tile(np.array([0.25, 0.75], dtype=np.float32), (rows, 1))
    signature = SimpleNamespace(labels=["a", "é" * 4000])
    long = SimpleNamespace(version="v" * 16, signature=signature, reference=None)
    line = describe("p" * 63, long, batch, probabilities, "r" * 36, has_features=True)  # type: ignore[arg-type]
    assert len(line.encode()) <= MAX_LINE_BYTES
    assert "\n" not in line
    captured = PredictionCapture.from_json(line)
    assert captured.rows == rows
    assert len(captured.predictions) <= min(rows, MAX_PREDICTIONS)
    assert captured.predictions
    assert captured.features or batch[0].nbytes > 100_000
    if captured.features:
        assert len(base64.b64decode(captured.features.data)) == np.prod(captured.features.shape) * 4


# Statistics


def check(batch: np.ndarray) -> None:
    """`summarise` against numpy in float64."""
    found, values = summarise(batch), batch.astype(np.float64).ravel()
    edges = [-np.inf, *map(batch.dtype.type, HISTOGRAM_EDGES[batch.dtype.name]), np.inf]
    counts = [int(((values >= low) & (values < high)).sum()) for low, high in pairwise(edges)]
    assert found.dtype == batch.dtype.name
    assert found.count == values.size == sum(found.histogram)
    assert found.histogram == counts
    assert found.zeros_share == pytest.approx(np.mean(values == 0))
    if values.size < MIN_VALUES:
        assert (found.mean, found.std, found.min, found.max) == (None, None, None, None)
        return
    assert found.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-30)
    assert found.std == pytest.approx(values.std(), rel=1e-9, abs=1e-30)
    assert (found.min, found.max) == (values.min(), values.max())


SHAPES = array_shapes(min_dims=2, max_dims=4, max_side=9)
WIDE = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [np.float32(edge).item() for edge in HISTOGRAM_EDGES["float32"]]
)


@settings(max_examples=150, deadline=None)
@given(batch=arrays(np.uint8, SHAPES) | arrays(np.float32, SHAPES, elements=WIDE))
def test_statistics_are_those_of_numpy(batch: np.ndarray) -> None:
    check(batch)


def test_there_are_as_many_edges_as_bins_need() -> None:
    for edges in HISTOGRAM_EDGES.values():
        assert len(edges) == 15
        assert list(edges) == sorted(edges)


def test_a_histogram_of_two_requests_is_the_sum_of_theirs() -> None:
    one, two = RNG.normal(size=(2, 5, 30)).astype(np.float32)
    both = summarise(np.concatenate([one, two])).histogram
    assert both == [a + b for a, b in zip(summarise(one).histogram, summarise(two).histogram, strict=True)]


@pytest.mark.parametrize(("rate", "is_open"), [("", False), ("0", False), ("0.001", True), ("1", True)])
def test_a_rate_above_zero_opens_a_capture(capturing: Any, rate: str, is_open: bool) -> None:
    capturing(rate)
    assert isinstance(app.capture(), Capture) is is_open


def test_columns_are_counted_in_the_bins_of_the_model_where_somebody_watches(
    served: World, capturing: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image is one number, its brightness: in the package's bins, of a model that was loaded with its reference."""
    reference = ModelReference(
        numbers=[
            NumberReference(
                name="brightness", edges=[50.0, 100.0], low=[0, 0], high=[1, 1], rows=9, missing=0
            )
        ],
        categories=[],
    )
    content = tiny_models.files(1) | {REFERENCE_FILE: reference.to_json()}
    version = tiny_models.publish(served.store, "mnist", content)
    loaded = load_package(
        served.store, "mnist", version, directory=served.directory, threads=1, has_reference=True
    )
    assert loaded.reference == reference
    assert served.load("mnist", version).reference is None  # who does not watch does not read it
    batch = np.stack([np.full((28, 28), value, dtype=np.uint8) for value in (10, 49, 50, 99, 100)])
    line = describe("mnist", loaded, batch, np.ones((5, 10)) / 10, "r", has_features=False)
    assert PredictionCapture.from_json(line).number_counts == [[2, 2, 1, 0]]


def test_a_tables_columns_are_counted_with_what_is_missing_and_what_nobody_knows() -> None:
    reference = ModelReference(
        numbers=[NumberReference(name="km", edges=[0.5, 2.5], low=[0, 0], high=[1, 1], rows=9, missing=0)],
        categories=[CategoryReference(name="carrier", values=["A", "B"], counts=[5, 4], other=0, missing=0)],
    )
    numbers = np.array([[0.0], [1.0], [2.5], [np.nan]], dtype=np.float32)
    texts = np.array([["A"], ["new"], [""], ["A"]], dtype=object)
    assert count_columns(reference, Table(numbers, texts)) == ([[1, 1, 1, 1]], [[2, 0, 1, 1]])
    assert count_columns(reference, numbers) == ([[1, 1, 1, 1]], [])
