"""The optimisers that a recipe can name.

Fused where torch has a fused kernel (CPU and CUDA): one call for all parameters, bit-identical from run to run.
torch has none for RMSprop.
"""

from __future__ import annotations

from typing import Any

import torch

from lehr.contracts.recipe import Training
from lehr_trainer.errors import JobInputError

_TAKES_MOMENTUM = {"sgd", "rmsprop"}


def make_optimizer(parameters: Any, training: Training) -> Any:
    """The recipe's optimiser over `parameters`. Raises JobInputError for a momentum that would be ignored."""
    if training.momentum and training.optimizer not in _TAKES_MOMENTUM:
        raise JobInputError(
            f"momentum = {training.momentum} has no meaning for {training.optimizer}",
            place="training",
            hint=f"momentum belongs to {' and '.join(sorted(_TAKES_MOMENTUM))}",
        )
    shared: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    match training.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, fused=True, **shared)
        case "adamw":
            return torch.optim.AdamW(parameters, fused=True, **shared)
        case "sgd":
            return torch.optim.SGD(parameters, fused=True, momentum=training.momentum, **shared)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=training.momentum, **shared)
