"""The unet: labels for all pixels, by the network of Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597.

On the way down each level has two 3x3 convolutions and halves the image; on the way up a 2x2 transposed convolution
doubles it, and two convolutions see it beside what the same level had on the way down. A 1x1 convolution gives the
logits. Other than in the paper, convolutions are padded, so that the output is as large as the input, and each is
followed by a batch normalisation (Ioffe and Szegedy 2015). Weights start as He et al. (2015) have them for ReLU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.images import Planes, image_size, laid_out

Tensor = Any
Module = Any


class UNet(nn.Module):  # type: ignore[misc]
    """`channels` of the levels from the image's size down; the last has the smallest image."""

    def __init__(self, planes: int, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.planes = Planes()
        inputs = (planes, *channels)
        self.down = nn.ModuleList(_block(inputs[level], channels[level]) for level in range(len(channels)))
        self.pool = nn.MaxPool2d(2)
        ups = list(reversed(range(len(channels) - 1)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels[level + 1], channels[level], 2, stride=2) for level in ups
        )
        self.merge = nn.ModuleList(_block(2 * channels[level], channels[level]) for level in ups)
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.planes(x)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


def build_unet(model: Model, *, input_shape: tuple[int, ...], classes: int) -> Module:
    """One level for each of `model.channels`. Raises JobInputError for an image that cannot be halved so often."""
    height, width, planes = image_size("unet", input_shape)
    factor = 2 ** (len(model.channels) - 1)
    if height % factor or width % factor:
        raise JobInputError(
            f"an image of {height}x{width} cannot be halved {len(model.channels) - 1} times without a rest",
            place="model.channels",
            hint=f"give fewer levels, or sides that are multiples of {factor}",
        )
    return laid_out(UNet(planes, tuple(model.channels), classes))


def _block(inputs: int, outputs: int) -> Module:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> list[Module]:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]
