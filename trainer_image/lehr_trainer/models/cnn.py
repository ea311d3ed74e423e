"""The cnn: blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max-pooling, then one dense layer.

Weights start as He et al. (2015) have them for ReLU, the dense layer as the mlp's.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.images import Planes, image_size, laid_out
from lehr_trainer.models.mlp import dense

Module = Any


def build_cnn(model: Model, *, input_shape: tuple[int, ...], classes: int) -> Module:
    """One block for each of `model.channels`. Raises JobInputError for more blocks than the image can be halved."""
    height, width, planes = image_size("cnn", input_shape)
    halved = 2 ** len(model.channels)
    if min(height, width) < halved:
        raise JobInputError(
            f"{len(model.channels)} blocks halve an image of {height}x{width} to nothing",
            place="model.channels",
            hint=f"give fewer, or images of {halved}x{halved} or more",
        )
    layers: list[Module] = [Planes()]
    for channels in model.channels:
        convolution = nn.Conv2d(planes, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
        height, width, planes = height // 2, width // 2, channels
    head = [nn.Flatten(), nn.Dropout(model.dropout), dense(planes * height * width, classes)]
    return laid_out(nn.Sequential(*layers, *head))
