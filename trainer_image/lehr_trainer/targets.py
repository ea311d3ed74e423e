"""What is learnt: the one place that tells labels of rows and of pixels from values to predict and from boxes."""

from __future__ import annotations

from typing import Any, Literal

Tensor = Any
Kind = Literal["labels", "masks", "values", "boxes"]


def kind_of(targets: Tensor) -> Kind:
    """Of labels [rows], masks [rows, height, width], float32 values [rows, 1], or float32 boxes [rows, boxes, 5]."""
    if not targets.is_floating_point():
        return "masks" if targets.dim() > 2 else "labels"
    return "boxes" if targets.dim() == 3 else "values"
