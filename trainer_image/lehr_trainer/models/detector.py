"""The detector: one stage, one grid, no anchors, in the manner of FCOS, https://arxiv.org/abs/1904.01355.

For each of `channels` two 3x3 convolutions, the first of which halves the image, each with batch normalisation and
ReLU; then two more on the grid that is left, and a 1x1 convolution that gives a box and a logit for each class of every
cell, see `lehr_trainer.boxes`. A cell is 2 ** len(channels) pixels wide: objects whose middles lie in one cell are one
to it, so small objects want few stages, and large ones many, since a cell has to see all of what it names.

At first every score is 0.01, as in Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 4.1: most cells hold
nothing.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr_runtime.detection import CORNERS
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.images import Planes, image_size, laid_out

Module = Any
FIRST_SCORE = 0.01
# In cells: what a box is at first.
FIRST_SIDE = 2.0


def build_detector(model: Model, *, input_shape: tuple[int, ...], classes: int) -> Module:
    """Gives maps [rows, 4 + classes, grid height, grid width]. Raises JobInputError for an image that is too small."""
    height, width, inputs = image_size("detector", input_shape)
    stages = len(model.channels)
    if min(height, width) < 2**stages:
        raise JobInputError(
            f"an image of {height}x{width} cannot be halved {stages} times",
            place="model.channels",
            hint="take fewer stages, or a larger data.image_size",
        )
    layers: list[Module] = [Planes()]
    for outputs in model.channels:
        layers += [*_convolution(inputs, outputs, stride=2), *_convolution(outputs, outputs)]
        inputs = outputs
    layers += [*_convolution(inputs, inputs), *_convolution(inputs, inputs)]
    return laid_out(nn.Sequential(*layers, _head(inputs, classes)))


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> list[Module]:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def _head(inputs: int, classes: int) -> Module:
    head = nn.Conv2d(inputs, CORNERS + classes, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias[:2])
    nn.init.constant_(head.bias[2:CORNERS], math.log(FIRST_SIDE))
    nn.init.constant_(head.bias[CORNERS:], -math.log((1 - FIRST_SCORE) / FIRST_SCORE))
    return head
