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


def size_of(
    model: Model, *, input_shape: Sequence[int], classes: int, sample_rate: int | None = None
) -> ModelSize | None:
    """Of a built-in model for rows of `input_shape`, [height, width] or [height, width, planes], or [samples] at
    `sample_rate`; None of others.
    """
    match model.name:
        case "mlp":
            return _mlp([math.prod(input_shape), *model.hidden, classes])
        case "cnn":
            return _cnn(model.channels, *_image(input_shape), classes)
        case "resnet":
            return _resnet(model.depth, model.width, *_image(input_shape), classes)
        case "unet":
            return _unet(model.channels, *_image(input_shape), classes)
        case "audio_cnn" if sample_rate is not None:
            return _audio_cnn(model, input_shape[0], sample_rate, classes)
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


def window_and_hop(model: Model, sample_rate: int) -> tuple[int, int]:
    """Of the spectrogram, in samples."""
    return max(2, round(model.window_ms * sample_rate / 1000)), max(
        1, round(model.hop_ms * sample_rate / 1000)
    )


def _audio_cnn(model: Model, samples: int, sample_rate: int, classes: int) -> ModelSize:
    """The spectrogram has no parameters, but for the batch normalisation of its bands."""
    window, hop = window_and_hop(model, sample_rate)
    bins, frames = window // 2 + 1, max(1, (samples - window) // hop + 1)
    size = ModelSize(2 * model.mels, frames * (2 * bins * window + bins * model.mels))
    height, width, planes = model.mels, frames, 1
    for outputs in model.channels:
        size += _convolution(planes, outputs, 3, height * width)
        height, width, planes = height // 2, width // 2, outputs
    return size + _dense(planes, classes)


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


def _unet(channels: Sequence[int], height: int, width: int, planes: int, classes: int) -> ModelSize:
    size, pixels, inputs = NOTHING, height * width, planes
    for level, outputs in enumerate(channels):
        here = pixels // 4**level
        size += _convolution(inputs, outputs, 3, here) + _convolution(outputs, outputs, 3, here)
        inputs = outputs
    for level in reversed(range(len(channels) - 1)):
        outputs, here = channels[level], pixels // 4**level
        # Each pixel below gives four above, by weights of their own.
        weights = channels[level + 1] * outputs
        size += ModelSize(4 * weights + outputs, weights * here)
        size += _convolution(2 * outputs, outputs, 3, here) + _convolution(outputs, outputs, 3, here)
    return size + ModelSize(channels[0] * classes + classes, channels[0] * classes * pixels)


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
