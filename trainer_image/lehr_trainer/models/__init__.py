"""Models: the built-in `mlp`, `cnn`, `resnet` and `detector`, or the project's own code.

A model is a `torch.nn.Module` that takes float32 pixels in [0, 1], [batch, height, width] or [batch, height, width,
channels], and gives logits, [batch, classes], or the maps of `lehr_trainer.boxes` where boxes are found. A project
brings its own with

    [model]
    name = "custom"
    factory = "module:function"

where `module.py` lies beside lehr.toml and `function(input_shape=(28, 28), classes=10)` returns the module,
or a model of Keras 3: see `keras_module.py`.
Files beside it can be imported by their bare names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lehr.contracts.recipe_tables import Model
from lehr_trainer.models.cnn import build_cnn
from lehr_trainer.models.custom import build_custom
from lehr_trainer.models.custom import importable as importable
from lehr_trainer.models.detector import build_detector
from lehr_trainer.models.mlp import build_mlp
from lehr_trainer.models.resnet import build_resnet

Tensor = Any
Module = Any


def scale_pixels(x: Tensor) -> Tensor:
    """uint8 pixels to float32 in [0, 1]: the one preprocessing, in training and in the exported graph.

    The numbers of a table are float32 already, and scaled by their model.
    """
    if x.dtype is not torch.uint8:
        return x
    return x.to(torch.float32) / 255.0


def build_model(
    model: Model,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    code_folder: Path,
    log: Callable[[str], None] = print,
    finds_boxes: bool = False,
) -> Module:
    """Build the recipe's model. Raises ModelCodeError if the project's factory gives no classifier, JobInputError
    if the images do not fit the built-in one. With `finds_boxes` the project's own gives maps."""
    match model.name:
        case "mlp":
            return build_mlp(model, input_shape=input_shape, classes=classes)
        case "cnn":
            return build_cnn(model, input_shape=input_shape, classes=classes)
        case "resnet":
            return build_resnet(model, input_shape=input_shape, classes=classes)
        case "detector":
            return build_detector(model, input_shape=input_shape, classes=classes)
        case "custom":
            return build_custom(
                model.factory,
                input_shape=input_shape,
                classes=classes,
                code_folder=code_folder,
                log=log,
                finds_boxes=finds_boxes,
            )


def count_parameters(model: Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
