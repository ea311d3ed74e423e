"""How large a built-in model is, in closed form: no framework is asked, so that a plan costs nothing.

A test compares the parameters with those of the modules that the trainer builds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lehr.contracts.recipe_tables import Model


@dataclass(frozen=True)
class ModelSize:
    """Trainable parameters, and multiply-adds of one row through the network."""

    parameters: int
    multiply_adds: int

    def __add__(self, other: ModelSize) -> ModelSize:
        return ModelSize(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)


NOTHING = ModelSize(0, 0)


def size_of(model: Model, *, input_shape: Sequence[int], classes: int) -> ModelSize | None:
    """Of a built-in model for rows of `input_shape`, [height, width] or [height, width, planes]; None of others."""
    match model.name:
        case "mlp":
            return _mlp([math.prod(input_shape), *model.hidden, classes])
        case "cnn":
            return _cnn(model.channels, *_image(input_shape), classes)
        case "resnet":
            return _resnet(model.depth, model.width, *_image(input_shape), classes)
        case "detector":
            return _detector(model.channels, *_image(input_shape), classes)
    return None


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    return shape[0], shape[1], shape[2] if len(shape) > 2 else 1


def _dense(inputs: int, outputs: int) -> ModelSize:
    return ModelSize(inputs * outputs + outputs, inputs * outputs)


def _convolution(inputs: int, outputs: int, side: int, pixels: int) -> ModelSize:
    """Without bias, and with the batch normalisation after it."""
    weights = inputs * outputs * side * side
    return ModelSize(weights + 2 * outputs, weights * pixels)


def _mlp(widths: Sequence[int]) -> ModelSize:
    return sum((_dense(*pair) for pair in pairwise(widths)), NOTHING)


def _cnn(channels: Sequence[int], height: int, width: int, planes: int, classes: int) -> ModelSize:
    size = NOTHING
    for outputs in channels:
        size += _convolution(planes, outputs, 3, height * width)
        height, width, planes = height // 2, width // 2, outputs
    return size + _dense(planes * height * width, classes)


def _resnet(depth: int, first: int, height: int, width: int, planes: int, classes: int) -> ModelSize:
    size, inputs = _convolution(planes, first, 3, height * width), first
    for stage in range(3):
        outputs = first * 2**stage
        for number in range((depth - 2) // 6):
            if stage and not number:
                height, width = math.ceil(height / 2), math.ceil(width / 2)
            pixels = height * width
            size += _convolution(inputs, outputs, 3, pixels) + _convolution(outputs, outputs, 3, pixels)
            if inputs != outputs or (stage and not number):
                size += _convolution(inputs, outputs, 1, pixels)
            inputs = outputs
    return size + _dense(inputs, classes)


def _detector(channels: Sequence[int], height: int, width: int, planes: int, classes: int) -> ModelSize:
    """Its head gives the four numbers of a box and a logit for each class, of every cell."""
    size = NOTHING
    for outputs in channels:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        size += _convolution(planes, outputs, 3, height * width)
        size += _convolution(outputs, outputs, 3, height * width)
        planes = outputs
    for _ in range(2):
        size += _convolution(planes, planes, 3, height * width)
    head = planes * (4 + classes)
    return size + ModelSize(head + 4 + classes, head * height * width)
