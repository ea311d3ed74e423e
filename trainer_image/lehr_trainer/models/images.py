"""What the convolutional models share: how pixels become planes, and which images they refuse.

Convolutions run in the channels-last layout, in which the pixels of a colour image already lie.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lehr_trainer.errors import JobInputError

Tensor = Any
Module = Any
LARGEST_CHANNELS = 4


class Planes(nn.Module):  # type: ignore[misc]
    """[batch, height, width] or [batch, height, width, channels] to [batch, channels, height, width]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)


def image_size(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of the dataset's images. Raises JobInputError for what is no image."""
    if len(input_shape) == 2:
        return (*input_shape, 1)
    if len(input_shape) == 3 and input_shape[2] <= LARGEST_CHANNELS:
        return (input_shape[0], input_shape[1], input_shape[2])
    raise JobInputError(
        f"{name} takes images of [height, width] or [height, width, channels] with 1 to {LARGEST_CHANNELS} "
        f"channels, the rows of the dataset are {list(input_shape)}",
        place="model.name",
        hint="mlp takes any shape",
    )


def laid_out(module: Module) -> Module:
    """`module` with its weights in the channels-last layout, where convolutions are faster."""
    return module.to(memory_format=torch.channels_last)
