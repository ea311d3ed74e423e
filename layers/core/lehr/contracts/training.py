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
    """Training settings as SageMaker carries them: every value JSON in a string, strings bare, None left out."""
    plain: dict[str, Any] = msgspec.to_builtins(training)
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in plain.items()
        if value is not None
    }


def from_hyperparameters(hyperparameters: Mapping[str, str]) -> Training:
    """The inverse. Raises ContractError when a value is not of its type."""
    try:
        # No bare string of [training] begins like a list.
        plain = {
            name: msgspec.json.decode(value) if value.startswith("[") else value
            for name, value in hyperparameters.items()
        }
        return msgspec.convert(plain, type=Training, strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        raise ContractError(f"hyperparameters: {fault}") from fault


class Trial(Part, frozen=True, kw_only=True):
    """One training of a run. `id` is its number as a string, since job names are built from it."""

    id: str
    hyperparameters: dict[str, str]


class EpochRecord(Part, frozen=True, kw_only=True):
    """One line of metrics: accuracies are in [0, 1], None of a regression, whose errors are in the target's units.

    `loss` is the mean of the recipe's loss over the epoch. `validation_loss` is mean cross-entropy in nats,
    whatever the loss, of the weights that this epoch would export (of a regression: the mean squared error, in squared
    spreads of the target); the validation fields are None when no rows are held out.
    `learning_rate` is that of the epoch's last update, None in what an older trainer wrote.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    samples_per_second: float
    seconds: float
    learning_rate: float | None = None
    validation_rmse: float | None = None
    validation_mae: float | None = None


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
    """`training.json` of a model package: the curves, the proof of export, what it ran on.

    `best_epoch` is the epoch whose weights were exported where the recipe has `patience`, else None: the last one's.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    trial: str
    epochs: list[EpochRecord]
    best_epoch: int | None = None
    precision: str = "float32"
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
        """Of the weights that were exported: the best epoch's, else the last one's."""
        exported = next(
            (record for record in self.epochs if record.epoch == self.best_epoch), self.epochs[-1]
        )
        if exported.validation_loss is None:
            return TrainingFigures(
                split="train", epoch=exported.epoch, accuracy=exported.accuracy, loss=exported.loss
            )
        return TrainingFigures(
            split="validation",
            epoch=exported.epoch,
            accuracy=exported.validation_accuracy,
            loss=exported.validation_loss,
            rmse=exported.validation_rmse,
            mae=exported.validation_mae,
        )
