"""Masks from a test shard to a decision, a report and an answer."""

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
import pytest
from aws_lambda_powertools import Logger
from PIL import Image

from functions.evaluate_shard.evaluate import evaluate
from functions.evaluate_shard.masks import MAX_EXAMPLE_SIDE, MAX_EXAMPLES
from functions.judge_model.judge import judge
from functions.package_model import serving
from functions.package_model.card import write_card
from functions.predict import app
from functions.predict.catalogue import Catalogue
from functions.predict.masks import describe_masks
from functions.predict_batch_unit.predict import NO_MASKS, predict_unit
from functions.write_report.report import render
from functions.write_report.sources import read_sources
from lehr import layout
from lehr.contracts.batch_prediction import BatchUnit
from lehr.contracts.dataset import DatasetManifest, ObjectRef, Shard
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import GOLDEN_FILE, Lineage
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.segmentation import SegmentationReport, ShardSegmentation
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary
from lehr.contracts.workflow import JudgeRequest, ReportRequest
from lehr.errors import MismatchedDataError, ModelPackageError
from lehr.http.problems import Problem
from lehr_runtime.golden import read_golden
from lehr_runtime.masks import encode_image
from lehr_runtime.packages import load_package
from lehr_runtime.segmentation import sign_test
from lehr_runtime.shards import write_shard
from tests import tiny_masks, tiny_models
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.functions.test_predict import CONTEXT, World, event

PROJECT = "scenes"
RECIPE = """
[project]
name = "scenes"
task = "image_segmentation"
[data]
format = "masks"
files = ["images/*"]
masks = ["masks/*"]
image_size = [8, 6]
channels = 1
labels = ["dark", "grey", "light"]
[model]
name = "unet"
channels = [4]
[gate]
min_mean_iou = 0.9
min_test_rows = 10
"""
ROWS = 40


class Evaluated:
    """Two test shards through a candidate that is right, and a champion whose thresholds are off."""

    def __init__(self, directory: Path, *, has_champion: bool = True) -> None:
        self.store = InMemoryObjectStore("artifacts")
        self.directory = directory
        self.candidate = tiny_models.publish(self.store, PROJECT, tiny_masks.files())
        champion = tiny_models.publish(self.store, PROJECT, tiny_masks.files(60.5, 200.5))
        self.champion = champion if has_champion else None
        random = np.random.default_rng(3)
        self.x = random.integers(0, 256, (2, ROWS, *tiny_masks.SHAPE), dtype=np.uint8)
        self.y = tiny_masks.labels_of(self.x)
        self.y[:, :, 0] = 255
        self.units = [self.unit(index, self.x[index], self.y[index]) for index in range(2)]

    def unit(self, index: int, x: np.ndarray, y: np.ndarray) -> EvaluateUnit:
        raw = write_shard({"x": x, "y": y})
        key = f"test/{index}"
        self.store.put(key, raw)
        digest = hashlib.sha256(raw).hexdigest()
        shard = Shard(split="test", key=key, rows=len(x), bytes=len(raw), sha256=digest, class_counts=[])
        return EvaluateUnit(
            project=PROJECT,
            run="r1",
            index=index,
            of=2,
            shard=shard,
            candidate=self.candidate,
            champion=self.champion,
        )

    def load(self, project: str, version: str) -> Any:
        return load_package(self.store, project, version, directory=self.directory, threads=1)

    def evaluate(self, unit: EvaluateUnit) -> ShardSegmentation:
        result = evaluate(unit, self.store, self.load)
        assert isinstance(result, ShardSegmentation)
        return result

    def judge(self) -> tuple[Any, SegmentationReport]:
        for unit in self.units:
            self.evaluate(unit)
        plan = msgspec.json.encode(self.units)
        self.store.put(layout.evaluation_plan_key(PROJECT, "r1", self.candidate, self.champion), plan)
        self.store.put(layout.recipe_key(PROJECT, "r1"), parse_recipe(RECIPE).to_json())
        request = JudgeRequest(
            project=PROJECT,
            run="r1",
            dataset_version="d" * 16,
            candidate=self.candidate,
            champion=self.champion,
        )
        judgement = judge(request, self.store)
        return judgement, SegmentationReport.from_json(
            self.store.get(layout.evaluation_report_key(PROJECT, "r1"))
        )


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluated:
    return Evaluated(tmp_path)


def test_pixels_of_both_models_are_counted_and_images_paired(evaluated: Evaluated) -> None:
    result = evaluated.evaluate(evaluated.units[1])
    counted = int((evaluated.y[1] != 255).sum())
    assert np.trace(result.candidate.confusion) == np.sum(result.candidate.confusion) == counted
    assert result.champion is not None
    assert np.trace(result.champion.confusion) == int(
        (tiny_masks.labels_of(evaluated.x[1], 60.5, 200.5) == evaluated.y[1]).sum()
    )
    assert result.paired is not None
    assert (result.paired.only_candidate, result.paired.only_champion) == (ROWS, 0)
    assert result.examples == []


def test_the_first_shard_has_a_few_images_to_look_at(evaluated: Evaluated) -> None:
    examples = evaluated.evaluate(evaluated.units[0]).examples
    assert len(examples) == MAX_EXAMPLES
    shown = [
        np.asarray(Image.open(io.BytesIO(raw)))
        for raw in (examples[1].image, examples[1].truth, examples[1].predicted)
    ]
    np.testing.assert_array_equal(shown[0], evaluated.x[0, 1])
    np.testing.assert_array_equal(shown[1], evaluated.y[0, 1])
    np.testing.assert_array_equal(shown[2], tiny_masks.labels_of(evaluated.x[0, 1]))


def test_a_large_image_is_thinned_out_for_the_page() -> None:
    from functions.evaluate_shard.masks import _examples

    x = np.zeros((1, 300, 200, 3), np.uint8)
    (example,) = _examples(x, x[..., 0], x[..., 0])
    assert Image.open(io.BytesIO(example.image)).size == (67, 100)
    assert max(Image.open(io.BytesIO(example.truth)).size) <= MAX_EXAMPLE_SIDE


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        (np.zeros((4, 8, 6), np.uint8), np.full((4, 8, 6), 3, np.uint8), MismatchedDataError),
        (np.zeros((4, 8, 6), np.uint8), np.zeros((4, 8, 5), np.uint8), MismatchedDataError),
        (np.zeros((4, 6, 8), np.uint8), np.zeros((4, 6, 8), np.uint8), ModelPackageError),
    ],
)
def test_masks_that_do_not_fit_the_model_are_refused(
    evaluated: Evaluated, x: np.ndarray, y: np.ndarray, error: type[Exception]
) -> None:
    with pytest.raises(error):
        evaluated.evaluate(evaluated.unit(0, x, y))


def test_a_model_that_labels_whole_images_is_not_judged_by_masks(evaluated: Evaluated) -> None:
    flat = tiny_models.publish(evaluated.store, PROJECT, tiny_models.files())
    unit = evaluated.unit(0, np.zeros((2, 28, 28), np.uint8), np.zeros((2, 28, 28), np.uint8))
    unit = msgspec.structs.replace(unit, candidate=flat, champion=None)
    with pytest.raises(ModelPackageError, match="no label for each pixel"):
        evaluate(unit, evaluated.store, evaluated.load)


@pytest.mark.parametrize("champion", ["masks", "images"])
def test_models_of_different_tasks_are_not_compared(tmp_path: Path, champion: str) -> None:
    models: dict[str, Any] = {
        "masks": SimpleNamespace(version="m", signature=tiny_masks.signature()),
        "images": SimpleNamespace(version="i", signature=tiny_models.signature(tiny_masks.LABELS)),
    }
    candidate = "images" if champion == "masks" else "masks"
    unit = Evaluated(tmp_path).units[0]
    unit = msgspec.structs.replace(unit, candidate=candidate, champion=champion)
    with pytest.raises(ModelPackageError, match=r"does image_.*the same rows cannot judge both"):
        evaluate(unit, InMemoryObjectStore(), lambda project, version: models[version])


def test_golden_rows_are_as_many_as_a_package_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(2).integers(0, 256, (5, *tiny_masks.SHAPE), dtype=np.uint8)
    each = x[0].nbytes * (1 + 3 * 4)

    def golden_rows(room_bytes: int) -> int:
        monkeypatch.setattr(serving, "_ROOM_BYTES", room_bytes)
        files = serving.prepare_serving(tiny_masks.files(), x, Logger())
        if GOLDEN_FILE not in files:
            assert files == {}
            return 0
        return len(read_golden(files[GOLDEN_FILE], place="g").x)

    assert [golden_rows(3 * each), golden_rows(100 * each), golden_rows(each - 1)] == [3, 5, 0]


def test_the_shards_add_up_to_a_decision(evaluated: Evaluated) -> None:
    judgement, report = evaluated.judge()
    assert (judgement.verdict, judgement.mean_iou) == ("promote", 1.0)
    assert judgement.champion_mean_iou == pytest.approx(report.champion.mean_iou if report.champion else None)
    assert report.candidate.rows == 2 * ROWS
    assert report.paired is not None
    assert report.paired.only_candidate == 2 * ROWS
    assert report.sign_test_p == sign_test(report.paired) < 1e-9
    assert len(report.examples) == MAX_EXAMPLES


def test_a_candidate_below_the_gate_is_rejected(tmp_path: Path) -> None:
    world = Evaluated(tmp_path, has_champion=False)
    # Each label is another's: no pixel is right.
    world.y[:] = (tiny_masks.labels_of(world.x) + 1) % 3
    world.units = [world.unit(index, world.x[index], world.y[index]) for index in range(2)]
    judgement, report = world.judge()
    assert judgement.verdict == "reject"
    assert "mean IoU: 0.0000, required >= 0.9000" in judgement.reason
    assert (report.paired, report.sign_test_p, judgement.champion_mean_iou) == (None, None, None)


def test_the_report_shows_labels_and_images(evaluated: Evaluated) -> None:
    evaluated.judge()
    sources = read_sources(PROJECT, "r1", evaluated.store, InMemoryRegistry())
    request = ReportRequest(project=PROJECT, run="r1", execution_arn="arn", outcome="promoted")
    page = render(request, sources, [])
    assert "Its mean IoU on 80 test images is 1.0000" in page
    assert page.count("data:image/png;base64,") == 3 * MAX_EXAMPLES
    assert "the candidate's mean IoU is higher on 80, the champion's on 0, equal on 0" in page
    for label in tiny_masks.LABELS:
        assert f"<td>{label}</td>" in page
    assert "Evaluation: it cannot be read" not in page


def call(path: str, body: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = app.handler(event("POST", path, body, **more), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    world.push(PROJECT)
    world.promote(PROJECT, tiny_models.publish(world.store, PROJECT, tiny_masks.files()))
    return world


PIXELS = np.random.default_rng(8).integers(0, 256, tuple(tiny_masks.SHAPE), dtype=np.uint8)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("sent", ["png", "image", "inputs"])
def test_an_image_is_answered_with_its_mask(sent: str) -> None:
    text = base64.b64encode(encode_image(PIXELS)).decode()
    if sent == "png":
        status, told = call(
            f"/predict/{PROJECT}", text, isBase64Encoded=True, headers={"content-type": "image/png"}
        )
    else:
        body = {"image": text} if sent == "image" else {"inputs": [PIXELS.tolist()]}
        status, told = call(f"/predict/{PROJECT}", json.dumps(body))
    assert status == 200, told
    assert told["labels"] == tiny_masks.LABELS
    (one,) = told["predictions"]
    image = Image.open(io.BytesIO(base64.b64decode(one["mask"])))
    expected = tiny_masks.labels_of(PIXELS)
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), expected)
    shares = np.bincount(expected.reshape(-1), minlength=3) / expected.size
    assert list(one["shares"].values()) == pytest.approx(shares.tolist())
    assert 1 / 3 < one["probability"] <= 1


@pytest.mark.usefixtures("world")
def test_top_labels_cannot_be_asked_of_pixels() -> None:
    status, told = call(
        f"/predict/{PROJECT}", json.dumps({"inputs": PIXELS.tolist()}), rawQueryString="top_k=1"
    )
    assert (status, told["field"]) == (422, "top_k")


def test_the_protocol_gives_the_tensor_as_it_is(world: World) -> None:
    tensor = {
        "name": "x",
        "datatype": "UINT8",
        "shape": [1, *tiny_masks.SHAPE],
        "data": PIXELS.reshape(-1).tolist(),
    }
    status, told = call(f"/v2/models/{PROJECT}/infer", json.dumps({"inputs": [tensor]}))
    assert status == 200, told
    (output,) = told["outputs"]
    assert output["shape"] == [1, 3, *tiny_masks.SHAPE]
    model = world.champions.get(PROJECT).model
    expected = model.predictor.predict(PIXELS[None])
    np.testing.assert_allclose(np.reshape(output["data"], expected.shape), expected, rtol=1e-6)


@pytest.mark.usefixtures("world")
def test_a_tensor_that_no_answer_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.predict.large_answers.MAX_ANSWER_BYTES", 5000)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [2, *tiny_masks.SHAPE], "data": [7] * 96}
    status, told = call(f"/v2/models/{PROJECT}/infer", json.dumps({"inputs": [tensor]}))
    assert status == 422
    assert "the tensors of 1 images here fit into 5000 bytes" in told["error"]


def test_masks_that_no_answer_holds_are_refused() -> None:
    masks = np.random.default_rng(0).integers(0, 3, (3, 64, 64), dtype=np.uint8)
    with pytest.raises(Problem, match="the masks of 1 images fit"):
        describe_masks(masks, np.ones(3, np.float32), tiny_masks.LABELS, most_bytes=4500)


def test_a_batch_has_no_room_for_masks(world: World) -> None:
    model = world.champions.get(PROJECT).model
    artifacts = InMemoryObjectStore("artifacts")
    unit = BatchUnit(
        project=PROJECT,
        batch="b1",
        model_version=model.version,
        index=0,
        source=ObjectRef(bucket="data", key="batches/scenes/x", etag="e", bytes=1),
        first=0,
        count=1,
    )
    result = predict_unit(unit, InMemoryObjectStore("data"), artifacts, lambda project, version: model)
    assert (result.rows, result.refused) == (0, NO_MASKS)


def test_the_card_says_that_pixels_have_labels() -> None:
    epoch = EpochRecord(
        epoch=1,
        loss=0.2,
        accuracy=0.9,
        validation_loss=0.3,
        validation_accuracy=0.91,
        validation_mean_iou=0.72,
        samples_per_second=1.0,
        seconds=1.0,
    )
    summary = TrainingSummary(
        project=PROJECT,
        run="r1",
        trial="0",
        epochs=[epoch],
        parity=Parity(rows=1, max_absolute_difference=0.0, tolerance=1e-4, argmax_disagreements=0),
        parameters=1,
        training_rows=1,
        seconds=1.0,
        device="cpu",
        threads=1,
        weights_sha256="0",
        versions={},
    )
    lineage = Lineage(
        project=PROJECT,
        run="r1",
        trial="0",
        dataset_version="d" * 16,
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="ml.m5.large",
        hyperparameters={},
    )
    manifest = DatasetManifest(
        project=PROJECT,
        format="masks",
        input_shape=tiny_masks.SHAPE,
        input_dtype="uint8",
        labels=tiny_masks.LABELS,
        shards=[],
        mean=0.0,
        std=1.0,
        raw=[],
        seed=1,
        validation_fraction=0.1,
    )
    card = write_card(tiny_masks.signature(), summary, lineage, manifest).decode()
    assert "for each pixel of an image, one probability for each of 3 labels" in card
    assert "mean IoU 0.7200, accuracy of pixels 0.9100" in card
    assert '"type": "mean_iou", "value": 0.72' in card
    assert "each pixel one of its 3 labels" in card
