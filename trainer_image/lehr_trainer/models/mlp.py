"""The mlp: flatten, then dense layers with ReLU and dropout.

It starts from Glorot-uniform weights and zero biases (Glorot and Bengio 2010), as `keras.layers.Dense` does, so that a
recipe moved over from Keras starts from the same distribution.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lehr.contracts.recipe_tables import Model

Module = Any


def build_mlp(model: Model, *, input_shape: tuple[int, ...], classes: int) -> Module:
    width = 1
    for side in input_shape:
        width *= side
    layers: list[Module] = [nn.Flatten()]
    for hidden in model.hidden:
        layers += [dense(width, hidden), nn.ReLU(), nn.Dropout(model.dropout)]
        width = hidden
    return nn.Sequential(*layers, dense(width, classes))


def dense(inputs: int, outputs: int) -> Module:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
