"""The built-in convolutional models: their shapes, what they refuse, and that their export is them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lehr.contracts.recipe_tables import Model
from lehr_trainer import export
from lehr_trainer.errors import JobInputError
from lehr_trainer.models import build_model, count_parameters

MakeJob = Callable[..., Any]
MODELS = [Model(name="cnn", channels=(8, 16))] + [
    Model(name="resnet", depth=depth, width=8) for depth in (8, 14, 20)
]


def _build(model: Model, shape: tuple[int, ...]) -> Any:
    torch.manual_seed(0)
    return build_model(model, input_shape=shape, classes=10, code_folder=Path())


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3), (17, 30, 3)])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_model_takes_grey_and_colour_images(model: Model, shape: tuple[int, ...]) -> None:
    assert _build(model, shape)(torch.rand(3, *shape)).shape == (3, 10)


@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3)])
@pytest.mark.parametrize("model", MODELS[:2], ids=str)
def test_the_export_of_every_model_is_proven(tmp_path: Path, model: Model, shape: tuple[int, ...]) -> None:
    module = _build(model, shape)
    rows = np.random.default_rng(1).integers(0, 256, (300, *shape), dtype=np.uint8)
    with torch.no_grad():  # running statistics that are not those of the start
        module.train()(torch.from_numpy(rows) / 255.0)
    signature = export.make_signature("image_classification", list(shape), [str(n) for n in range(10)])
    parity = export.export_model(module, tmp_path, rows, signature, threads=1)
    assert parity.max_absolute_difference <= 1e-4
    assert parity.argmax_disagreements == 0


@pytest.mark.parametrize(("depth", "millions"), [(8, 0.078), (14, 0.175), (20, 0.273)])
def test_a_resnet_has_the_parameters_of_its_depth(depth: int, millions: float) -> None:
    model = _build(Model(name="resnet", depth=depth), (32, 32, 3))  # type: ignore[arg-type]
    assert count_parameters(model) / 1e6 == pytest.approx(millions, abs=0.0015)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.modules()) == depth - 1 + 2


def test_convolutions_lie_with_their_channels_last() -> None:
    weights = [p for p in _build(Model(name="resnet"), (32, 32, 3)).parameters() if p.dim() == 4]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (Model(name="cnn"), (784,), "the rows of the dataset are [784] (mlp takes any shape)"),
        (Model(name="resnet"), (3, 32, 32), "with 1 to 4 channels, the rows of the dataset are [3, 32, 32]"),
        (Model(name="resnet"), (7, 28), "resnet takes images of 8x8 or more"),
        (Model(name="cnn", channels=(8,) * 5), (28, 28), "5 blocks halve an image of 28x28 to nothing"),
    ],
)
def test_images_that_do_not_fit_are_refused(model: Model, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(JobInputError) as caught:
        _build(model, shape)
    assert words in str(caught.value)
    assert str(caught.value).startswith("model.")


@pytest.mark.parametrize("model", ['name = "cnn"\nchannels = [8]\n', 'name = "resnet"\nwidth = 4\n'])
def test_a_built_in_network_trains_exports_and_resumes(
    make_job: MakeJob, stop_after: Any, model: str
) -> None:
    augment = "[augment]\ncrop_padding = 2\nhorizontal_flip = true\nrotation_degrees = 10\n"
    settings = {"model": model + augment, "rows": 300, "epochs": 2, "learning_rate": 0.01}
    stopped, whole = make_job(**settings), make_job(**settings)
    assert stopped.run(stop_after(13)) == 0
    assert [stopped.run(), whole.run()] == [0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256
    assert whole.summary.epochs[-1].loss < whole.summary.epochs[0].loss
    assert whole.summary.parity.max_absolute_difference <= whole.summary.parity.tolerance
