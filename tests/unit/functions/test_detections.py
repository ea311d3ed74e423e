"""A model that finds boxes, from a shard to a decision, a report and an answer in pixels of the image that was sent."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from functions.evaluate_shard.evaluate import evaluate
from functions.judge_model.judge import judge
from functions.package_model.card import write_card
from functions.predict import boxes, handlers, large_answers
from functions.predict.routes import respond
from functions.predict_batch_unit.predict import NO_BOXES, predict_unit
from functions.write_report.report import render
from functions.write_report.sources import Sources, read_sources
from lehr import layout
from lehr.contracts.batch_prediction import BatchUnit
from lehr.contracts.dataset import DatasetManifest, ObjectRef, Shard
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import Lineage, ModelPackage, Signature, TensorSpec
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary
from lehr.contracts.workflow import JudgeRequest, ReportRequest
from lehr.errors import ModelPackageError
from lehr.http.gateway import Request
from lehr.http.problems import Problem
from lehr_runtime.packages import LoadedModel
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session
from lehr_runtime.shards import write_shard
from tests import tiny_boxes
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

LABELS = tiny_boxes.LABELS
SIDE = tiny_boxes.SIDE
SIGNATURE = Signature(
    task="object_detection",
    input=TensorSpec(name="x", dtype="uint8", shape=[-1, SIDE, SIDE]),
    output=TensorSpec(name="detections", dtype="float32", shape=[-1, 3, 6]),
    labels=LABELS,
)
# One bar of high score, one pole of a lower one, and a second answer for the same bar.
ANSWERS = np.array(
    [
        [0.25, 0.5, 0.75, 0.75, 0.9, 0.1],
        [0.0, 0.0, 0.25, 1.0, 0.0, 0.4],
        [0.26, 0.5, 0.75, 0.75, 0.6, 0.0],
    ],
    np.float32,
)


def model(folder: Path, answers: np.ndarray = ANSWERS, version: str = "candidate") -> LoadedModel:
    """A graph that gives the same boxes for every image."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=1),
        helper.make_node("Mul", ["m", "zero"], ["z"]),
        helper.make_node("Add", ["z", "answers"], ["detections"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["batch", *answers.shape])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            numpy_helper.from_array(answers[np.newaxis], "answers"),
        ],
    )
    path = folder / f"{version}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    session = open_session(path, threads=1)
    check_signature(session, SIGNATURE)
    return LoadedModel(
        version=version,
        package=ModelPackage(project="scenes", files={}),
        signature=SIGNATURE,
        predictor=Predictor(session, SIGNATURE),
    )


@pytest.fixture
def candidate(tmp_path: Path) -> LoadedModel:
    return model(tmp_path)


# --- evaluation, decision, report


def shard_of(store: InMemoryObjectStore, key: str, rows: int) -> Shard:
    """Images in which there is the bar that ANSWERS has, and in every second one a pole that it has not."""
    x = np.full((rows, SIDE, SIDE), 30, np.uint8)
    y = np.zeros((rows, 3, 5), np.float32)
    y[..., 0] = -1
    y[:, 0] = [0, 0.25, 0.5, 0.5, 0.25]
    y[::2, 1] = [1, 0.5, 0.0, 0.25, 0.25]
    raw = write_shard({"x": x, "y": y})
    store.put(key, raw)
    return Shard(
        split="test",
        key=key,
        rows=rows,
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=[rows, rows // 2],
    )


def decided(tmp_path: Path, champion: LoadedModel | None) -> tuple[InMemoryObjectStore, Any]:
    store = InMemoryObjectStore("artifacts")
    models = {"candidate": model(tmp_path), "champion": champion}
    version = champion.version if champion else None
    units = [
        EvaluateUnit(
            project="scenes",
            run="run-1",
            index=index,
            of=2,
            shard=shard_of(store, f"test/{index}", rows),
            candidate="candidate",
            champion=version,
        )
        for index, rows in enumerate((60, 40))
    ]
    store.put(layout.recipe_key("scenes", "run-1"), parse_recipe(tiny_boxes.RECIPE).to_json())
    key = layout.evaluation_plan_key("scenes", "run-1", "candidate", version)
    store.put(key, msgspec.json.encode(units))
    for unit in units:
        evaluate(unit, store, lambda project, wanted: models[wanted])  # type: ignore[arg-type, return-value]
    request = JudgeRequest(
        project="scenes", run="run-1", dataset_version="d", candidate="candidate", champion=version
    )
    return store, judge(request, store)


def test_shards_add_up_to_a_decision_with_both_labels(tmp_path: Path) -> None:
    _, judgement = decided(tmp_path, None)
    # The bar is always right, the pole never.
    assert judgement.map50 == pytest.approx(0.5)
    assert judgement.verdict == "promote"
    assert judgement.reason.startswith("mAP 0.5000 (0.5000 at IoU 0.5), no champion yet")


def test_the_champion_is_judged_on_the_same_images_and_a_tie_keeps_it(tmp_path: Path) -> None:
    _, judgement = decided(tmp_path, model(tmp_path, version="champion"))
    assert judgement.verdict == "reject"
    assert judgement.champion_map50 == judgement.map50
    blind = ANSWERS.copy()
    blind[:, 4:] = 0
    _, judgement = decided(tmp_path, model(tmp_path, blind, version="champion"))
    assert (judgement.verdict, judgement.champion_map50) == ("promote", 0.0)


def test_a_model_of_something_else_cannot_be_judged_by_boxes(tmp_path: Path) -> None:
    found = model(tmp_path)
    other = LoadedModel(
        version="champion",
        package=found.package,
        signature=msgspec.structs.replace(SIGNATURE, task="image_classification"),
        predictor=found.predictor,
    )
    with pytest.raises(
        ModelPackageError,
        match="champion champion does image_classification, candidate candidate object_detection",
    ):
        decided(tmp_path, other)


def test_a_graph_that_leaves_the_image_or_gives_nan_is_refused(tmp_path: Path) -> None:
    for value in (np.nan, 1.5, -0.1):
        spoilt = ANSWERS.copy()
        spoilt[0, 0] = value
        with pytest.raises(ModelPackageError, match="no boxes and scores within 0 and 1"):
            model(tmp_path, spoilt).predictor.predict(np.zeros((1, SIDE, SIDE), np.uint8))


def training() -> TrainingSummary:
    records = [
        EpochRecord(
            epoch=epoch,
            loss=1.0 / epoch,
            accuracy=None,
            validation_loss=1.1 / epoch,
            validation_map50=0.3 * epoch,
            samples_per_second=100.0,
            seconds=1.0,
        )
        for epoch in (1, 2, 3)
    ]
    return TrainingSummary(
        project="scenes",
        run="run-1",
        trial="0",
        epochs=records,
        parity=Parity(rows=256, max_absolute_difference=1e-6, tolerance=1e-4, argmax_disagreements=0),
        parameters=1000,
        training_rows=200,
        seconds=3.0,
        device="cpu",
        threads=1,
        weights_sha256="aa",
        versions={},
    )


def test_the_report_shows_boxes_curves_and_what_each_label_reaches(tmp_path: Path) -> None:
    store, _ = decided(tmp_path, model(tmp_path, version="champion"))
    sources = read_sources("scenes", "run-1", store, InMemoryRegistry())
    assert sources.detection is not None
    assert sources.model_version == "candidate"
    sources.training = training()
    request = ReportRequest(project="scenes", run="run-1", outcome="rejected", execution_arn="arn")
    page = render(request, sources, [])
    assert page.count('<div class="pane">') == 6
    assert "bar 0.90" in page
    assert 'aria-label="Precision by recall"' in page
    assert '<td>pole</td><td class="n">0.0000</td>' in page
    assert "Its mAP on" not in page
    assert "champion champion stays" in page
    assert "mAP <span" in page


def test_a_report_without_an_evaluation_says_so() -> None:
    sources = read_sources("scenes", "run-1", InMemoryObjectStore("artifacts"), InMemoryRegistry())
    assert (sources.detection, sources.evaluation) == (None, None)
    assert any(line.startswith("Evaluation") for line in sources.missing)
    assert isinstance(sources, Sources)


def test_the_card_says_what_the_output_is_and_how_good_it_was() -> None:
    manifest = DatasetManifest(
        project="scenes",
        format="coco",
        input_shape=[SIDE, SIDE],
        input_dtype="uint8",
        labels=LABELS,
        shards=[],
        mean=0.0,
        std=1.0,
        raw=[],
        seed=1,
        validation_fraction=0.1,
    )
    lineage = Lineage(
        project="scenes",
        run="run-1",
        trial="0",
        dataset_version="d",
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="t",
        hyperparameters={},
    )
    card = write_card(SIGNATURE, training(), lineage, manifest).decode()
    assert "for each of 3 cells, a box" in card
    assert "mAP at an IoU of 0.5 0.9" in card
    assert '"map50"' in card
    assert "(detections,) = session.run" in card
    assert "for any input of its shape" not in card


# --- the endpoint


def ask(
    found: LoadedModel, body: bytes, kind: str = "application/json", query: str = ""
) -> tuple[int, dict[str, Any]]:
    champions = SimpleNamespace(get=lambda project, key=None: SimpleNamespace(model=found))
    services = handlers.Services(champions=lambda: champions, catalogue=lambda: None)  # type: ignore[arg-type, return-value]
    event = {
        "version": "2.0",
        "rawPath": "/predict/scenes",
        "rawQueryString": query,
        "headers": {"content-type": kind},
        "requestContext": {
            "requestId": "r",
            "stage": "$default",
            "http": {"method": "POST", "path": "/predict/scenes"},
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    answer = respond(Request(event), services)
    return answer["statusCode"], json.loads(answer["body"])


def an_image(width: int, height: int, kind: str = "PNG", turned: bool = False) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new("RGB", (width, height), (9, 9, 9)).save(stream, kind, exif=exif)
    return stream.getvalue()


BAR = {
    "label": "bar",
    "score": pytest.approx(0.9),
    "box": {"x": 50.0, "y": 50.0, "width": 100.0, "height": 25.0},
}
POLE = {
    "label": "pole",
    "score": pytest.approx(0.4),
    "box": {"x": 0.0, "y": 0.0, "width": 50.0, "height": 100.0},
}


def test_boxes_are_in_pixels_of_the_image_that_was_sent(candidate: LoadedModel) -> None:
    status, document = ask(candidate, an_image(200, 100), "image/png")
    assert status == 200
    assert document["predictions"] == [{"detections": [BAR, POLE]}]
    assert document["model_version"] == "candidate"


def test_an_image_that_a_camera_turned_has_boxes_as_it_is_seen(candidate: LoadedModel) -> None:
    _, document = ask(candidate, an_image(100, 200, "JPEG", turned=True), "image/jpeg")
    assert document["predictions"][0]["detections"][0] == BAR


def test_each_image_of_a_request_has_boxes_of_its_own_size(candidate: LoadedModel) -> None:
    images = [base64.b64encode(an_image(*size)).decode() for size in ((200, 100), (32, 32))]
    _, document = ask(candidate, json.dumps({"images": images}).encode())
    first, second = document["predictions"]
    assert first["detections"][0] == BAR
    assert second["detections"][0]["box"] == {"x": 8.0, "y": 16.0, "width": 16.0, "height": 8.0}


def test_many_images_are_answered_in_their_order(
    candidate: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "BATCH_ROWS", 2)
    images = [base64.b64encode(an_image(width, 32)).decode() for width in (32, 64, 128, 160, 320)]
    _, document = ask(candidate, json.dumps({"images": images}).encode())
    found = [one["detections"][0]["box"]["width"] for one in document["predictions"]]
    assert found == [16.0, 32.0, 64.0, 80.0, 160.0]


def test_pixels_are_answered_in_pixels_of_the_models_size(candidate: LoadedModel) -> None:
    body = json.dumps({"inputs": np.zeros((1, SIDE, SIDE), int).tolist()}).encode()
    _, document = ask(candidate, body)
    assert document["predictions"][0]["detections"][0]["box"] == {
        "x": 8.0,
        "y": 16.0,
        "width": 16.0,
        "height": 8.0,
    }


def test_a_score_says_from_which_on_objects_are_answered(candidate: LoadedModel) -> None:
    for query, count in (("score=0.5", 1), ("score=0.95", 0), ("score=0.05", 3), ("", 2)):
        _, document = ask(candidate, an_image(200, 100), "image/png", query)
        assert len(document["predictions"][0]["detections"]) == count, query


@pytest.mark.parametrize("query", ["score=2", "score=0.01", "score=nan", "score=x", "score=", "top_k=1"])
def test_a_query_that_has_no_meaning_is_refused(query: str, candidate: LoadedModel) -> None:
    status, document = ask(candidate, an_image(20, 10), "image/png", query)
    assert status == 422
    assert document["field"] == query.partition("=")[0]


def test_a_raw_answer_that_no_function_could_give_is_refused(
    candidate: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_answers, "MAX_ANSWER_BYTES", 1000)
    monkeypatch.setattr(large_answers, "wants_bytes", lambda asked: False)
    asked = SimpleNamespace()
    large_answers.refuse_large_tensor(asked, 2, SIGNATURE)  # type: ignore[arg-type]
    with pytest.raises(Problem, match="the tensors of 2 images here fit"):
        large_answers.refuse_large_tensor(asked, 3, SIGNATURE)  # type: ignore[arg-type]


def test_a_batch_of_rows_is_refused_with_the_way_out(candidate: LoadedModel) -> None:
    unit = BatchUnit(
        project="scenes",
        batch="b" * 12,
        model_version="candidate",
        index=0,
        source=ObjectRef(bucket="data", key="batches/scenes/rows.csv", etag="e", bytes=1),
        first=0,
        count=1,
    )
    store = InMemoryObjectStore("artifacts")
    result = predict_unit(unit, InMemoryObjectStore("data"), store, lambda project, version: candidate)
    assert result.refused == NO_BOXES


@pytest.mark.parametrize("kind", ["application/json", "image/png"])
def test_a_score_is_refused_by_a_model_that_finds_no_boxes(kind: str, candidate: LoadedModel) -> None:
    other = LoadedModel(
        version="other",
        package=candidate.package,
        signature=msgspec.structs.replace(SIGNATURE, task="image_classification"),
        predictor=candidate.predictor,
    )
    status, document = ask(other, an_image(20, 10), kind, "score=0.5")
    assert (status, document["field"]) == (422, "score")
