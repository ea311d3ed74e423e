"""What a model is measured by on rows that are held out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from lehr_trainer.data import Examples

ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class Measured:
    """Mean cross-entropy in nats, without label smoothing, and accuracy.

    Of values to predict: the mean squared error, its root, and the mean absolute error. None of no rows.
    """

    loss: float | None = None
    accuracy: float | None = None
    rmse: float | None = None
    mae: float | None = None

    def scaled(self, std: float) -> Measured:
        """With errors in the units of a target that was divided by `std`; the loss stays as it is."""
        if self.rmse is None or self.mae is None:
            return self
        return Measured(self.loss, None, self.rmse * std, self.mae * std)


def measure_values(model: Any, examples: Examples) -> Measured:
    """The errors of a model that predicts values, in evaluation mode."""
    if not len(examples):
        return Measured()
    model.eval()
    squares = absolutes = 0.0
    with torch.inference_mode():
        for first in range(0, len(examples), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            errors = (model(examples.images[rows]) - examples.labels[rows]).double()
            squares += float(errors.square().sum())
            absolutes += float(errors.abs().sum())
    loss = squares / len(examples)
    return Measured(loss=loss, rmse=math.sqrt(loss), mae=absolutes / len(examples))
