"""The two networks in plain torch: the MNIST example's, and ResNet-18 (He et al. 2015, table 1).

Float pixels in [0, 1] in, logits out, as the trainer wants a model to be.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Tensor = Any


def mlp() -> Any:
    """Flatten 28x28 -> Dense 128 ReLU -> Dropout 0.2 -> Dense 10, as examples/mnist/lehr.toml says."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))


class Block(nn.Module):  # type: ignore[misc]
    """Two 3x3 convolutions around a shortcut, which is projected where size or width changes."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def resnet18(classes: int = 1000) -> Any:
    """[batch, 3, 224, 224] to [batch, classes]; 11.7 million parameters."""
    blocks = []
    before = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(before, width, stride), Block(width, width, 1)]
        before = width
    network = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )
    for module in network.modules():
        # With torch's defaults an untrained network gives every class the same probability.
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
