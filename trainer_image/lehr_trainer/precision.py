"""In which type a forward pass computes: float32, or bfloat16 by autocast with float32 weights, loss and optimiser.

bfloat16 has the exponents of float32, so that nothing is scaled. Validation and export are float32 always:
what is measured is what will serve.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import torch

from lehr.contracts.recipe_tables import Training
from lehr_trainer.errors import JobInputError

Precision = Literal["float32", "bfloat16"]
ForwardContext = Callable[[], AbstractContextManager[Any]]


def choose_precision(training: Training, device: Any) -> Precision:
    """What the recipe says; "auto" is bfloat16 on a GPU that computes in it and float32 elsewhere.

    Raises JobInputError for bfloat16 on a GPU without it. On a CPU without it torch emulates, which is slow.
    """
    is_native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    match training.precision:
        case "auto":
            return "bfloat16" if is_native else "float32"
        case "bfloat16" if device.type == "cuda" and not is_native:
            raise JobInputError(
                f'precision = "bfloat16" has no support in {torch.cuda.get_device_name(device)}',
                place="training",
                hint='take precision = "auto", or an instance with an Ampere GPU or newer, such as ml.g5',
            )
        case "bfloat16":
            return "bfloat16"
        case "float32":
            return "float32"


def forward_context(precision: Precision, device: Any) -> ForwardContext:
    """Makes the context of one forward pass."""
    if precision == "float32":
        return nullcontext
    return partial(torch.autocast, device.type, dtype=torch.bfloat16)
