"""The best epoch so far, its weights, and when to stop waiting for a better one.

An epoch is better when what is monitored beats the best by more than `min_delta`; training ends after `patience`
epochs that are not. The first epoch is the best until then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lehr.contracts.hook_rules import MONITORS
from lehr.contracts.recipe_tables import Training
from lehr.contracts.training import EpochRecord

DEFAULT_MONITOR = "validation_loss"


class EarlyStopping:
    """Watches one training, which must have held-out rows. Without patience it only keeps the best epoch."""

    def __init__(self, training: Training) -> None:
        self.monitor = training.monitor or DEFAULT_MONITOR
        self.patience = training.patience
        self._min_delta = training.min_delta or 0.0
        self._best: float | None = None
        self._weights: dict[str, Any] = {}
        self.best_epoch = 0

    def watch(self, record: EpochRecord, model: Any) -> None:
        """Judge an epoch; `model` has the weights that it was validated with."""
        value = _lower_is_better(record, self.monitor)
        if self._best is None or value < self._best - self._min_delta:
            self._best, self.best_epoch = value, record.epoch
            self._weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def is_over(self, epoch: int) -> bool:
        """Whether, with `epoch` epochs finished, nothing was better for `patience` of them."""
        return self.patience > 0 and epoch - self.best_epoch >= self.patience

    def verdict(self, epoch: int, epochs: int) -> str:
        """One line of the log on how it ended, after `epoch` of `epochs`."""
        best = f"the weights are those of epoch {self.best_epoch}, the best by {self.monitor}"
        if epoch < epochs and self.is_over(epoch):
            return f"ended early, {self.patience} epochs after the last that was better: {best}"
        return best

    def apply(self, model: Any) -> None:
        """Give `model` the best epoch's weights."""
        model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self.best_epoch, self._weights = (
            state["best"],
            state["best_epoch"],
            dict(state["weights"]),
        )


def _lower_is_better(record: EpochRecord, monitor: str) -> float:
    """The loss, or the accuracy or a metric of the project turned round; infinite where a metric was not finite."""
    if monitor in MONITORS:
        value = float(getattr(record, monitor))
        return value if monitor == "validation_loss" else -value
    metric = record.metrics[monitor.removeprefix("validation_")]
    return math.inf if metric is None else -metric
