"""Training of models that label pixels: masks from shards to a proven graph."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from sklearn.metrics import jaccard_score

from lehr.contracts.dataset import DatasetManifest, Shard, Split
from lehr.contracts.package import MODEL_FILE, Signature
from lehr.contracts.recipe_tables import Augment, Model, Training
from lehr.contracts.training import to_hyperparameters
from lehr.model_size import size_of
from lehr_runtime.shards import write_shard
from lehr_trainer import export, losses
from lehr_trainer.augment import Augmentation
from lehr_trainer.data import Examples, load_examples
from lehr_trainer.errors import ExportParityError, JobInputError, ModelCodeError
from lehr_trainer.measuring import measure
from lehr_trainer.metrics import METRIC_DEFINITIONS
from lehr_trainer.models import build_model, count_parameters
from tests.unit.trainer.conftest import JobFolder

LABELS = ["ground", "bar", "dot"]
SIDE = 16
RECIPE = """
[project]
name = "scenes"
task = "image_segmentation"
[data]
format = "masks"
files = ["images/*"]
masks = ["masks/*"]
image_size = [16, 16]
channels = 1
labels = ["ground", "bar", "dot"]
ignore_value = 255
"""
UNET = '[model]\nname = "unet"\nchannels = [4, 8]\n'


def scenes(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright bars and dots on a dark ground, uint8 [rows, 16, 16], and their masks; one corner counts nowhere."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 60, (rows, SIDE, SIDE), dtype=np.uint8)
    y = np.zeros_like(x)
    for image, mask in zip(x, y, strict=True):
        row, top, left = random.integers(0, 5), random.integers(7, 12), random.integers(0, 12)
        image[row : row + 2, 1:15] = mask[row : row + 2, 1:15] = 1
        image[row : row + 2, 1:15] = 200
        image[top : top + 4, left : left + 4] = 255
        mask[top : top + 4, left : left + 4] = 2
        mask[15, 15] = 255
    return x, y


@pytest.fixture
def make_masks_job(tmp_path: Path) -> Callable[..., JobFolder]:
    numbers = iter(range(10))

    def make(
        *, rows: int = 96, held_out: int = 32, recipe: str = "", code: str = "", **settings: Any
    ) -> JobFolder:
        root = tmp_path / f"job-{next(numbers)}"
        data = root / "input/data"
        for folder in ("../config", "manifest", "code", "train", "validation"):
            (data / folder).mkdir(parents=True)
        x, y = scenes(rows + held_out)
        cuts: list[tuple[Split, int, int]] = [
            ("train", 0, 40),
            ("train", 40, rows),
            ("validation", rows, len(x)),
        ]
        shards = []
        for number, (split, first, last) in enumerate(cuts):
            raw = write_shard({"x": x[first:last], "y": y[first:last]})
            key = f"{split}/shard-{number:05d}-of-00003.safetensors"
            (data / key).write_bytes(raw)
            shards.append(
                Shard(
                    split=split,
                    key=key,
                    rows=last - first,
                    bytes=len(raw),
                    sha256=hashlib.sha256(raw).hexdigest(),
                    class_counts=np.bincount(y[first:last].reshape(-1), minlength=3)[:3].tolist(),
                )
            )
        manifest = DatasetManifest(
            project="scenes",
            format="masks",
            input_shape=[SIDE, SIDE],
            input_dtype="uint8",
            labels=LABELS,
            shards=shards,
            mean=0.0,
            std=1.0,
            raw=[],
            seed=1,
            validation_fraction=0.1,
        )
        (data / "manifest/manifest.json").write_bytes(manifest.to_json())
        (data / "code/lehr.toml").write_text(RECIPE + (recipe or UNET))
        if code:
            (data / "code/own.py").write_text(code)
        training = msgspec.convert({"epochs": 2, "seed": 1, "learning_rate": 0.02} | settings, type=Training)
        config = root / "input/config"
        (config / "hyperparameters.json").write_text(json.dumps(to_hyperparameters(training)))
        channels: dict[str, dict[str, str]] = {path.name: {} for path in data.iterdir()}
        (config / "inputdataconfig.json").write_text(json.dumps(channels))
        (config / "resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
        return JobFolder(root)

    return make


def run(job: JobFolder, stop: Any = None) -> int:
    return job.run(stop, LEHR_PROJECT="scenes")


def test_a_unet_learns_masks_and_its_graph_is_proven_pixel_by_pixel(
    make_masks_job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"loss": "cross_entropy_dice", "class_weights": "balanced", "batch_size": 8, "epochs": 4}
    job = make_masks_job(**settings, patience=4, monitor="validation_mean_iou")
    assert run(job) == 0, job.failure
    last = job.summary.figures()
    assert last.mean_iou is not None
    assert last.mean_iou > 0.8
    (of_iou,) = [entry["Regex"] for entry in METRIC_DEFINITIONS if entry["Name"] == "validation:mean_iou"]
    seen = re.findall(of_iou, capsys.readouterr().out)
    assert [float(value) for value in seen] == pytest.approx(
        [epoch.validation_mean_iou for epoch in job.summary.epochs], abs=1e-4
    )
    signature = Signature.from_json((job.root / "model/signature.json").read_bytes())
    assert signature.output.shape == [-1, 3, SIDE, SIDE]
    assert job.summary.parity.max_absolute_difference <= 1e-4
    assert job.summary.int8 is not None
    assert job.summary.int8.float32_accuracy == pytest.approx(last.accuracy, abs=0.02)


@pytest.mark.parametrize("residency", [pytest.param("device", marks=pytest.mark.slow), "streamed"])
@pytest.mark.usefixtures("without_export")
def test_a_resumed_training_has_the_bits_of_one_that_was_not_stopped(
    make_masks_job: Any, stop_after: Any, residency: str
) -> None:
    settings = {"batch_size": 16, "residency": residency, "loss": "cross_entropy_dice"}
    augment = UNET + "[augment]\nhorizontal_flip = true\nrotation_degrees = 20.0\ncrop_padding = 2\n"
    whole, cut, plain = (
        make_masks_job(recipe=augment, **settings | {"residency": r})
        for r in (residency, residency, "device")
    )
    assert run(whole) == run(plain) == 0
    assert run(cut, stop_after(4)) == 0
    assert cut.checkpoints
    assert run(cut) == 0
    assert cut.summary.weights_sha256 == whole.summary.weights_sha256 == plain.summary.weights_sha256
    same = [
        [(one.loss, one.accuracy, one.validation_mean_iou) for one in job.summary.epochs]
        for job in (whole, cut)
    ]
    assert same[0] == same[1]


CODE = """
import torch
def build(input_shape, classes):
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, {side})), torch.nn.Conv2d(1, classes, 3, padding=1))
def own_loss(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
def ground(logits, labels):
    assert logits.shape == (len(labels), 3, 16, 16) and labels.shape[1:] == (16, 16)
    return float((logits.argmax(1) == 0).float().mean())
"""
HOOKS = '[model]\nname = "custom"\nfactory = "own:build"\n[hooks]\nloss = "own:own_loss"\nmetrics = ["own:ground"]\n'


def test_own_code_is_given_pixels_with_labels(make_masks_job: Any) -> None:
    job = make_masks_job(recipe=HOOKS, code=CODE.format(side=16), epochs=1)
    assert run(job) == 0, job.failure
    assert 0 < (job.summary.epochs[0].metrics["ground"] or 0) <= 1


def test_own_code_that_gives_one_label_for_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        "import torch\ndef build(input_shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, classes))\n"
    )
    from lehr_trainer.models import importable

    with (
        importable(tmp_path),
        pytest.raises(ModelCodeError, match=r"gives \[2, 3\] \(it must give logits, \[2, 3, 16, 16\]"),
    ):
        build_model(
            Model(name="custom", factory="flat:build"),
            input_shape=(16, 16),
            classes=3,
            code_folder=tmp_path,
            has_masks=True,
        )


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
@pytest.mark.parametrize("channels", [(6,), (4, 8), (4, 8, 12)])
def test_a_unet_gives_logits_for_every_pixel_and_has_the_size_that_is_planned(
    shape: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    settings = Model(name="unet", channels=channels)
    module = build_model(settings, input_shape=shape, classes=5, code_folder=Path())
    assert module(torch.rand(2, *shape)).shape == (2, 5, 16, 24)
    size = size_of(settings, input_shape=shape, classes=5)
    assert size is not None
    assert size.parameters == count_parameters(module)
    assert size.multiply_adds == counted_multiply_adds(module, shape)


def counted_multiply_adds(module: Any, shape: tuple[int, ...]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(torch.rand(1, *shape))
    return int(counter.get_total_flops()) // 2


def test_a_unet_refuses_an_image_that_cannot_be_halved_so_often() -> None:
    with pytest.raises(JobInputError, match=r"16x18 cannot be halved 2 times .*multiples of 4"):
        build_model(
            Model(name="unet", channels=(4, 4, 4)), input_shape=(16, 18), classes=2, code_folder=Path()
        )


LOGITS = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
MASKS = torch.randint(0, 3, (4, 5, 6), generator=torch.Generator().manual_seed(3))
HOLED = torch.where(torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(4)) < 0.3, 255, MASKS)


def _rows(logits: Any, masks: Any) -> tuple[np.ndarray, np.ndarray]:
    counts = (masks != 255).reshape(-1).numpy()
    return logits.movedim(1, -1).reshape(-1, 3).numpy()[counts], masks.reshape(-1).numpy()[counts]


@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_loss_of_pixels_is_the_formula_over_all_of_them(name: Any, weights: tuple[float, ...]) -> None:
    flat, truth = _rows(LOGITS, HOLED)
    log_p = (flat - np.log(np.exp(flat).sum(1, keepdims=True)))[np.arange(len(truth)), truth]
    weight = np.array(weights or (1.0,) * 3)[truth]
    each = -weight * log_p * ((1 - np.exp(log_p)) ** 2 if name == "focal" else 1)
    loss = losses.make_loss(Training(loss=name, class_weights=weights), [], torch.device("cpu"))
    assert float(loss(LOGITS.float(), HOLED)) == pytest.approx(each.sum() / HOLED.numel(), rel=1e-4)


def test_dice_is_the_formula_of_each_image_and_class() -> None:
    p = torch.softmax(LOGITS, 1).numpy()
    each = []
    for row in range(4):
        counts = HOLED[row].numpy() != 255
        for label in range(3):
            found, truth = p[row, label][counts], (HOLED[row].numpy() == label)[counts]
            each.append(1 - (2 * (found * truth).sum() + 1) / ((found**2).sum() + truth.sum() + 1))
    assert float(losses.dice(LOGITS, HOLED)) == pytest.approx(np.mean(each))
    sure = torch.nn.functional.one_hot(MASKS, 3).movedim(-1, 1) * 100.0
    assert float(losses.dice(sure, MASKS)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice", "cross_entropy_dice"])
def test_a_batch_in_parts_weighs_its_pixels_as_the_whole_does(name: Any) -> None:
    loss = losses.make_loss(Training(loss=name, class_weights=(1.0, 2.0, 3.0)), [], torch.device("cpu"))
    logits = LOGITS.float()
    parts = [
        float(loss(logits[part], HOLED[part])) * share
        for part, share in ((slice(3), 0.75), (slice(3, 4), 0.25))
    ]
    assert sum(parts) == pytest.approx(float(loss(logits, HOLED)), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice", "cross_entropy_dice"])
def test_pixels_that_count_nowhere_teach_nothing(name: Any) -> None:
    logits = LOGITS.float().requires_grad_()
    losses.make_loss(Training(loss=name), [], torch.device("cpu"))(logits, HOLED).backward()
    assert logits.grad is not None
    gradient = logits.grad.abs().sum(1)
    assert (gradient[HOLED == 255] == 0).all()
    assert (gradient[HOLED != 255] > 0).all()


MOVES = [
    Augment(horizontal_flip=True),
    Augment(crop_padding=3),
    Augment(rotation_degrees=90.0),
    Augment(shift=0.25),
    Augment(horizontal_flip=True, rotation_degrees=45.0, crop_padding=2),
]


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("augment", MOVES)
def test_a_marked_region_moves_with_its_image(augment: Augment, colours: bool) -> None:
    masks = torch.zeros(64, 16, 16, dtype=torch.int64)
    masks[:, 2:7, 3:8] = 1
    images = (masks * 255).to(torch.uint8)
    if colours:
        images = images.unsqueeze(3).expand(-1, -1, -1, 3).contiguous()
    augmentation = Augmentation(augment)
    draws = augmentation.draws(64, seed=1, epoch=0, device=images.device)
    moved, labels = augmentation.pixels(images, draws), augmentation.masks(masks, draws)
    light = moved[..., 0] if colours else moved
    assert set(labels.unique().tolist()) <= {0, 1, 255}
    # Between pixels the image has the mean of both: there the mask has either.
    assert (light[labels == 1] > 0.2).all()
    assert (light[labels == 0] < 0.8).all()
    assert (light[labels == 255] < 0.8).all()
    assert not torch.equal(labels, masks)
    assert bool((labels == 255).any()) == (augment != MOVES[0])


def test_masks_stay_where_nothing_is_asked_for() -> None:
    draws = Augmentation(Augment()).draws(4, seed=1, epoch=0, device=torch.device("cpu"))
    assert torch.equal(Augmentation(Augment()).masks(HOLED, draws), HOLED)


class _Fixed(torch.nn.Module):  # type: ignore[misc]
    """Gives logits that were made before, part by part."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.at = logits, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.at += len(x)
        return self.logits[self.at - len(x) : self.at]


def test_held_out_masks_are_measured_as_scikit_learn_does() -> None:
    examples = Examples(torch.zeros(4, 5, 6, dtype=torch.uint8), HOLED.to(torch.uint8))
    found = measure(_Fixed(LOGITS.float()), examples, rows=3)
    flat, truth = _rows(LOGITS, HOLED)
    guess = flat.argmax(1)
    assert found.mean_iou == pytest.approx(jaccard_score(truth, guess, average="macro"))
    assert found.accuracy == pytest.approx((guess == truth).mean())
    log_p = (flat - np.log(np.exp(flat).sum(1, keepdims=True)))[np.arange(len(truth)), truth]
    assert found.loss == pytest.approx(-log_p.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.full((2, 4, 4), 3, np.uint8), "has label 3 of 3 classes"),
        (np.zeros((2, 4, 3), np.uint8), "which are none of its rows"),
        (np.zeros(2, np.uint8), "which are none of its rows"),
    ],
)
def test_masks_that_the_manifest_does_not_describe_are_refused(
    tmp_path: Path, y: np.ndarray, words: str
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(write_shard({"x": np.zeros((2, 4, 4), np.uint8), "y": y}))
    with pytest.raises(JobInputError, match=words):
        load_examples([path], input_shape=[4, 4], classes=3, device=torch.device("cpu"), has_masks=True)


def test_a_graph_that_labels_other_pixels_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(
        Model(name="unet", channels=(4, 8)), input_shape=(8, 8), classes=3, code_folder=tmp_path
    )
    rows = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    signature = export.make_signature("image_segmentation", [8, 8], LABELS)
    parity = export.export_model(model, tmp_path, rows, signature, threads=1)
    assert parity.argmax_disagreements == 0
    graph = onnx.load(tmp_path / MODEL_FILE)
    weights = next(
        one for one in graph.graph.initializer if one.dims == [3, 4, 1, 1] or "head.weight" in one.name
    )
    turned = onnx.numpy_helper.to_array(weights)[[1, 0, 2]]
    weights.CopyFrom(onnx.numpy_helper.from_array(turned.copy(), weights.name))
    onnx.save(graph, tmp_path / MODEL_FILE)
    with pytest.raises(ExportParityError, match="is not the trained model"):
        export.prove_parity(model, tmp_path / MODEL_FILE, rows, signature, threads=1)
