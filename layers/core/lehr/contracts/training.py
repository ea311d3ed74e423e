"""What a training job is told and what it leaves behind.

SageMaker passes hyperparameters as strings; `to_hyperparameters` and `from_hyperparameters` are the two ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from lehr.contracts.document import Document, Part
from lehr.contracts.figures import TrainingFigures
from lehr.contracts.recipe import Training
from lehr.errors import ContractError


def to_hyperparameters(training: Training) -> dict[str, str]:
    """Training settings as SageMaker carries them: every value JSON in a string, strings bare."""
    plain: dict[str, Any] = msgspec.to_builtins(training)
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in plain.items()
    }


def from_hyperparameters(hyperparameters: Mapping[str, str]) -> Training:
    """The inverse. Raises ContractError when a value is not of its type."""
    try:
        return msgspec.convert(dict(hyperparameters), type=Training, strict=False)
    except msgspec.ValidationError as fault:
        raise ContractError(f"hyperparameters: {fault}") from fault


class Trial(Part, frozen=True, kw_only=True):
    """One training of a run. `id` is its number as a string, since job names are built from it."""

    id: str
    hyperparameters: dict[str, str]


class EpochRecord(Part, frozen=True, kw_only=True):
    """One line of metrics: losses are mean cross-entropy in nats, accuracies in [0, 1].

    The validation fields are None when no rows are held out.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    samples_per_second: float
    seconds: float


class Parity(Part, frozen=True, kw_only=True):
    """How far the exported graph is from the trained module, on real rows, in logit units."""

    rows: int
    max_absolute_difference: float
    tolerance: float
    argmax_disagreements: int


class Utilisation(Part, frozen=True, kw_only=True):
    """How much of the machine a training used; rates are over the epochs, without validation.

    `flops_per_sample` is three times what the forward pass of one row takes (one for it, two for its gradients); None
    where the module's operations cannot be counted. `gemm_flops_per_second` is a product of two square float32
    matrices, timed in the same process. `gemm_share` is the model's rate over that one: above 1 is possible where the
    model's products run better than a square one. `data_share` is the share of the time in which the host made batches
    and not steps; on a GPU that is the time of launching it. `peak_memory_bytes` is the GPU's, else the process's.
    """

    samples_per_second: float
    flops_per_sample: float | None = None
    gemm_flops_per_second: float
    gemm_share: float | None = None
    data_share: float
    peak_memory_bytes: int


class TrainingSummary(Document, frozen=True, kw_only=True):
    """`training.json` of a model package: the curves, the proof of export, what it ran on."""

    schema: Literal[1] = 1
    project: str
    run: str
    trial: str
    epochs: list[EpochRecord]
    parity: Parity
    parameters: int
    training_rows: int
    seconds: float
    device: str
    threads: int
    weights_sha256: str
    versions: dict[str, str]
    utilisation: Utilisation | None = None

    def figures(self) -> TrainingFigures:
        """Of the weights that were exported, which are the last epoch's."""
        last = self.epochs[-1]
        if last.validation_accuracy is None or last.validation_loss is None:
            return TrainingFigures(split="train", epoch=last.epoch, accuracy=last.accuracy, loss=last.loss)
        return TrainingFigures(
            split="validation",
            epoch=last.epoch,
            accuracy=last.validation_accuracy,
            loss=last.validation_loss,
        )
