"""The closed form of a built-in model's size is that of the module which the trainer builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lehr.contracts.recipe_tables import Model
from lehr.model_size import size_of
from lehr_trainer.models import build_model, count_parameters

MODELS = [
    (Model(name="mlp", hidden=(128,)), (28, 28)),
    (Model(name="mlp", hidden=()), (32, 32, 3)),
    (Model(name="mlp", hidden=(64, 32)), (9, 7)),
    (Model(name="cnn"), (28, 28)),
    (Model(name="cnn", channels=(8, 16, 24)), (33, 40, 3)),
    (Model(name="resnet", depth=8, width=16), (28, 28)),
    (Model(name="resnet", depth=20, width=8), (33, 31, 3)),
    (Model(name="detector", channels=(8, 16)), (32, 32)),
    (Model(name="detector", channels=(4, 8, 12)), (33, 30, 3)),
]


@pytest.mark.parametrize(("model", "shape"), MODELS, ids=lambda value: str(getattr(value, "name", value)))
def test_parameters_and_multiply_adds_are_those_of_the_module(model: Model, shape: tuple[int, ...]) -> None:
    size = size_of(model, input_shape=shape, classes=10)
    assert size is not None
    built = build_model(model, input_shape=shape, classes=10, code_folder=Path("nowhere"))
    assert size.parameters == count_parameters(built)
    assert size.multiply_adds == _counted(built, shape)


def _counted(built: Any, shape: tuple[int, ...]) -> int:
    """Multiply-adds of convolutions and dense layers of one row, from what they are given and give."""
    total = 0

    def count(module: Any, inputs: Any, output: Any) -> None:
        nonlocal total
        each = module.weight[0].numel()
        total += each * output[0].numel()

    for module in built.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        built.eval()(torch.zeros(1, *shape))
    return total


def test_a_model_of_the_project_has_no_size_that_could_be_known() -> None:
    assert size_of(Model(name="custom", factory="net:build"), input_shape=(28, 28), classes=10) is None
