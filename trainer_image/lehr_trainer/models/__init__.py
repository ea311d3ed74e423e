"""Models: the built-in `mlp`, `cnn`, `resnet`, `unet`, `detector` and `audio_cnn`, or the project's own code.

A model is a `torch.nn.Module` that takes float32 pixels in [0, 1], [batch, height, width] or [batch, height, width,
channels], or sound in [-1, 1), [batch, samples], and gives logits, [batch, classes], or [batch, classes, height, width]
where pixels have labels, or the maps of `lehr_trainer.boxes` where boxes are found. A project brings its own with

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
from lehr_trainer.models.audio_cnn import build_audio_cnn
from lehr_trainer.models.cnn import build_cnn
from lehr_trainer.models.custom import build_custom
from lehr_trainer.models.custom import importable as importable
from lehr_trainer.models.detector import build_detector
from lehr_trainer.models.mlp import build_mlp
from lehr_trainer.models.resnet import build_resnet
from lehr_trainer.models.unet import build_unet

Tensor = Any
Module = Any


def scale_pixels(x: Tensor) -> Tensor:
    """uint8 pixels to float32 in [0, 1], int16 samples to [-1, 1): the one preprocessing, in training and in the
    exported graph.

    The numbers of a table are float32 already, and scaled by their model.
    """
    if x.dtype is torch.int16:
        return x.to(torch.float32) / 32768.0
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
    has_masks: bool = False,
    sample_rate: int | None = None,
    finds_boxes: bool = False,
) -> Module:
    """Build the recipe's model: with `has_masks` it labels pixels, with `finds_boxes` it gives maps of boxes, with a
    `sample_rate`, in Hz, it hears.

    Raises ModelCodeError if the project's factory gives no such module, JobInputError if the rows do not fit the
    built-in one.
    """
    match model.name:
        case "mlp":
            return build_mlp(model, input_shape=input_shape, classes=classes)
        case "cnn":
            return build_cnn(model, input_shape=input_shape, classes=classes)
        case "resnet":
            return build_resnet(model, input_shape=input_shape, classes=classes)
        case "unet":
            return build_unet(model, input_shape=input_shape, classes=classes)
        case "audio_cnn":
            return build_audio_cnn(model, input_shape=input_shape, classes=classes, sample_rate=sample_rate)
        case "detector":
            return build_detector(model, input_shape=input_shape, classes=classes)
        case "custom":
            return build_custom(
                model.factory,
                input_shape=input_shape,
                classes=classes,
                code_folder=code_folder,
                log=log,
                has_masks=has_masks,
                finds_boxes=finds_boxes,
            )


def count_parameters(model: Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
