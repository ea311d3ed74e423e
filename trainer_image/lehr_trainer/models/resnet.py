"""The resnet: the residual network for small images of He et al. (2016), section 4.2.

A 3x3 convolution, three stages of `(depth - 2) / 6` blocks with 1, 2 and 4 times `width` channels, the second and third
of which halve the image, the mean over the image, and a dense layer. Where a block changes the shape, its shortcut is a
1x1 convolution (option B of the paper).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.images import Planes, image_size, laid_out
from lehr_trainer.models.mlp import dense

Tensor = Any
Module = Any
SMALLEST_SIDE = 8


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            _convolution(outputs, outputs, 3, 1),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


class ImageMean(nn.Module):  # type: ignore[misc]
    """[batch, channels, height, width] to [batch, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def build_resnet(model: Model, *, input_shape: tuple[int, ...], classes: int) -> Module:
    """ResNet-8, -14 or -20. Raises JobInputError for images of less than 8x8."""
    height, width, planes = image_size("resnet", input_shape)
    if min(height, width) < SMALLEST_SIDE:
        raise JobInputError(
            f"resnet takes images of {SMALLEST_SIDE}x{SMALLEST_SIDE} or more, the dataset's are {height}x{width}",
            place="model.name",
            hint="cnn with one block takes smaller ones",
        )
    layers: list[Module] = [
        Planes(),
        _convolution(planes, model.width, 3, 1),
        nn.BatchNorm2d(model.width),
        nn.ReLU(),
    ]
    inputs = model.width
    for stage in range(3):
        outputs = model.width * 2**stage
        for number in range((model.depth - 2) // 6):
            layers.append(Block(inputs, outputs, 2 if stage and not number else 1))
            inputs = outputs
    return laid_out(nn.Sequential(*layers, ImageMean(), dense(inputs, classes)))


def _convolution(inputs: int, outputs: int, side: int, stride: int) -> Module:
    layer = nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
