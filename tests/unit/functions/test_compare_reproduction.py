"""compare_reproduction: the weights decide, then the answers, and what was not the same is told."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.compare_reproduction.compare import compare
from lehr.contracts.package import (
    GOLDEN_FILE,
    LINEAGE_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    TRAINING_FILE,
    Lineage,
)
from lehr.contracts.reproduction import CompareRequest, Comparison
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary
from lehr.contracts.workflow import TrialResult
from lehr.errors import ModelPackageError
from lehr_runtime.golden import Golden, write_golden
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore

MODEL = "s3://bucket/runs/mnist/again-1/trials/job/output/model.tar.gz"


def summary(weights: str = "a", **changes: Any) -> TrainingSummary:
    epoch = EpochRecord(
        epoch=1,
        loss=0.1,
        accuracy=0.9,
        validation_loss=0.2,
        validation_accuracy=changes.pop("accuracy", 0.8),
        samples_per_second=1.0,
        seconds=1.0,
    )
    made = TrainingSummary(
        project="mnist",
        run="r1",
        trial="0",
        epochs=[epoch],
        parity=Parity(rows=1, max_absolute_difference=0.0, tolerance=1e-4, argmax_disagreements=0),
        parameters=1,
        training_rows=1,
        seconds=1.0,
        device="cpu",
        threads=1,
        weights_sha256=weights * 64,
        versions={"torch": "2.13.0"},
    )
    return msgspec.structs.replace(made, **changes)


LINEAGE = Lineage(
    project="mnist",
    run="r1",
    trial="0",
    dataset_version="d",
    code_sha="c",
    training_job="j",
    image="image",
    instance_type="ml.m5.large",
    hyperparameters={},
)


class World:
    """A published model, and a second training of it."""

    def __init__(self, folder: Any, *, has_golden: bool = True) -> None:
        self.weights, self.folder = models.weights(1), folder
        self.store = InMemoryObjectStore()
        rows = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
        files = {
            MODEL_FILE: self.graph(0.0),
            SIGNATURE_FILE: models.signature().to_json(),
            TRAINING_FILE: summary().to_json(),
            LINEAGE_FILE: LINEAGE.to_json(),
        }
        if has_golden:
            path = folder / "model.onnx"
            path.write_bytes(files[MODEL_FILE])
            answers = Predictor(open_session(path, threads=1), models.signature()).predict(rows)
            files[GOLDEN_FILE] = write_golden(Golden(rows, answers))
        self.version = models.publish(self.store, "mnist", files)

    def graph(self, noise: float) -> bytes:
        shift = np.random.default_rng(5).normal(0, 1, self.weights.shape).astype(np.float32) * np.float32(
            noise
        )
        return bytes(models.graph(self.weights + shift).SerializeToString())

    def compare(self, after: TrainingSummary, noise: float = 0.0, **result: Any) -> Comparison:
        files = {
            MODEL_FILE: self.graph(noise),
            SIGNATURE_FILE: models.signature().to_json(),
            TRAINING_FILE: after.to_json(),
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, body in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
        self.store.put(MODEL.removeprefix("s3://bucket/"), buffer.getvalue())
        named = {"job": "job", "model": MODEL, "image": "image", "instance_type": "ml.m5.large"} | result
        request = CompareRequest(
            project="mnist",
            run="again-1",
            version=self.version,
            tolerance=0.02,
            result=msgspec.convert({"id": "0", "status": "Completed"} | named, TrialResult),
        )
        return compare(request, self.store)


@pytest.fixture
def world(tmp_path: Any) -> World:
    return World(tmp_path)


def test_the_same_weights_are_the_same_model(world: World) -> None:
    comparison = world.compare(summary())
    assert (comparison.outcome, comparison.is_graph_identical) == ("identical", True)
    assert (comparison.max_difference, comparison.label_changes, comparison.circumstances) == (0.0, 0, [])


def test_other_weights_with_nearly_the_same_answers_are_within_the_tolerance(world: World) -> None:
    comparison = world.compare(summary("b"), noise=1e-7)
    assert comparison.outcome == "within_tolerance"
    assert comparison.max_difference is not None
    assert comparison.max_logit_difference is not None
    assert 0 < comparison.max_difference < comparison.max_logit_difference < 0.02
    assert comparison.rows == 8


def test_other_answers_are_another_model(world: World) -> None:
    comparison = world.compare(summary("b", accuracy=0.7), noise=1e-4)
    assert comparison.outcome == "different"
    assert comparison.max_difference is not None
    assert comparison.max_difference > 0.02
    figures = {one.name: (one.original, one.again) for one in comparison.figures}
    assert figures["validation accuracy"] == ("0.8", "0.7")


def test_what_was_not_the_same_is_told(world: World) -> None:
    after = summary("b", threads=4, device="cuda", versions={"torch": "2.14.0", "cuda": "13"})
    comparison = world.compare(after, noise=1e-7, image="other", instance_type="ml.g5.xlarge")
    told = {one.name: (one.original, one.again) for one in comparison.circumstances}
    assert told == {
        "image": ("image", "other"),
        "instance": ("ml.m5.large", "ml.g5.xlarge"),
        "device": ("cpu", "cuda"),
        "threads": ("1", "4"),
        "torch": ("2.13.0", "2.14.0"),
        "cuda": ("none", "13"),
    }


def test_a_training_that_failed_is_an_outcome_with_its_cause(world: World) -> None:
    comparison = world.compare(summary(), status="Failed", cause="no capacity")
    assert (comparison.outcome, comparison.reason) == ("failed", "no capacity")


def test_without_golden_rows_other_weights_are_not_called_near(tmp_path: Any) -> None:
    world = World(tmp_path, has_golden=False)
    assert world.compare(summary()).outcome == "identical"
    comparison = world.compare(summary("b"), noise=1e-7)
    assert (comparison.outcome, comparison.rows, comparison.max_difference) == ("different", 0, None)


def test_a_published_file_that_was_changed_is_compared_with_nothing(world: World) -> None:
    world.store.put(f"models/mnist/{world.version}/{TRAINING_FILE}", summary("b").to_json())
    with pytest.raises(ModelPackageError, match=TRAINING_FILE):
        world.compare(summary("b"))
