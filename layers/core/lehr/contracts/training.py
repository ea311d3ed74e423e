"""What a training job is told and what it leaves behind.

SageMaker passes hyperparameters as strings; `to_hyperparameters` and `from_hyperparameters` are the two ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from lehr.contracts.document import Document, Part
from lehr.contracts.figures import TrainingFigures
from lehr.contracts.recipe import MODEL_PREFIX
from lehr.contracts.recipe_tables import Training
from lehr.errors import ContractError

RUNG_EPOCHS, WALL_S, LAST_UPDATE = "rung_epochs", "wall_s", "last_update"


class TrialSettings(NamedTuple):
    """What a trial trains with: [training], the keys of [model] that it changes, and where it ends before all epochs.

    `rung_epochs` is less than `training.epochs` in an early rung of successive halving; the learning rate goes on as
    planned for all epochs. At its wall, `wall_s` seconds over all its jobs, it ends with the best that it has; at
    `last_update` one ends that makes again what ended at a wall.
    """

    training: Training
    model: dict[str, Any]
    rung_epochs: int | None = None
    wall_s: int | None = None
    last_update: int | None = None


def to_hyperparameters(
    training: Training,
    model: Mapping[str, Any] | None = None,
    rung_epochs: int | None = None,
    wall_s: int | None = None,
) -> dict[str, str]:
    """A trial's settings as SageMaker carries them: JSON in strings, [training]'s own strings bare, None left out."""
    plain: dict[str, Any] = msgspec.to_builtins(training) | {RUNG_EPOCHS: rung_epochs, WALL_S: wall_s}
    changed = {f"{MODEL_PREFIX}{name}": value for name, value in (model or {}).items()}
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in plain.items()
        if value is not None
    } | {name: msgspec.json.encode(value).decode() for name, value in changed.items()}


def from_hyperparameters(hyperparameters: Mapping[str, str]) -> Training:
    """[training] of `read_hyperparameters`."""
    return read_hyperparameters(hyperparameters).training


def read_hyperparameters(hyperparameters: Mapping[str, str]) -> TrialSettings:
    """The inverse of `to_hyperparameters`. Raises ContractError when a value is not of its type."""
    try:
        model = {
            name.removeprefix(MODEL_PREFIX): msgspec.json.decode(value)
            for name, value in hyperparameters.items()
            if name.startswith(MODEL_PREFIX)
        }
        # No bare string of [training] begins like a list.
        training = {
            name: msgspec.json.decode(value) if value.startswith("[") else value
            for name, value in hyperparameters.items()
            if not name.startswith(MODEL_PREFIX)
        }
        ends = {
            name: msgspec.convert(training.pop(name, None), type=int | None, strict=False)
            for name in (RUNG_EPOCHS, WALL_S, LAST_UPDATE)
        }
        return TrialSettings(
            training=msgspec.convert(training, type=Training, strict=False), model=model, **ends
        )
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        raise ContractError(f"hyperparameters: {fault}") from fault


class Trial(Part, frozen=True, kw_only=True):
    """One training of a run, as it is proposed.

    `id` is the trial's number as a string; `name` is what its jobs are named by: the id, with a letter from the second
    rung on, where the trial goes on from its own checkpoint. `point` is what was chosen for it, by key.
    """

    id: str
    name: str
    rung: int = 0
    point: dict[str, Any] = msgspec.field(default_factory=dict)
    hyperparameters: dict[str, str]


class EpochRecord(Part, frozen=True, kw_only=True):
    """One line of metrics: accuracies are in [0, 1], None of a regression, whose errors are in the target's units.

    `loss` is the mean of the recipe's loss over the epoch. `validation_loss` is mean cross-entropy in nats,
    whatever the loss, of the weights that this epoch would export (of a regression: the mean squared error, in squared
    spreads of the target); the validation fields are None when no rows are held out.
    `learning_rate` is that of the epoch's last update, None in what an older trainer wrote; an epoch that ended at the
    wall is one of the rows that it has seen. `metrics` are those of [hooks] on the held-out rows, by their functions'
    names; None where one was not finite. Of a segmentation accuracies are shares of the pixels that count; of object
    detection there is none, but `validation_map50`, and `validation_loss` is the recipe's.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    samples_per_second: float
    seconds: float
    learning_rate: float | None = None
    metrics: dict[str, float | None] = msgspec.field(default_factory=dict)
    validation_rmse: float | None = None
    validation_mae: float | None = None
    validation_mean_iou: float | None = None
    validation_map50: float | None = None


class Parity(Part, frozen=True, kw_only=True):
    """How far the exported graph is from the trained module, on real rows, in logit units."""

    rows: int
    max_absolute_difference: float
    tolerance: float
    argmax_disagreements: int


class Int8(Part, frozen=True, kw_only=True):
    """What came of quantising the graph: figures of both graphs, and why the int8 one is not published, if it is not.

    Accuracies are over `rows` rows, and p50 is of one row on one thread of the
    machine that trained. Figures are None where no graph was made.
    """

    is_published: bool
    reason: str = ""
    rows: int = 0
    bytes: int = 0
    float32_accuracy: float | None = None
    int8_accuracy: float | None = None
    float32_p50_us: float | None = None
    int8_p50_us: float | None = None


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

    `threads` are those of each of the `processes` that trained it.
    `best_epoch` is the epoch whose weights were exported where the recipe has `patience`, else None: the last one's.
    `micro_batch_rows` went through the model at once: fewer than batch_size where memory did not suffice for those.
    `wall_update` is the number of updates after which the training ended at its wall, within the last of `epochs`; the
    weights are then those of the best epoch where rows are held out.
    `initial_version` is the champion whose weights the training started from, empty for random ones.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    trial: str
    epochs: list[EpochRecord]
    best_epoch: int | None = None
    wall_update: int | None = None
    initial_version: str = ""
    precision: str = "float32"
    micro_batch_rows: int | None = None
    parity: Parity
    int8: Int8 | None = None
    parameters: int
    training_rows: int
    seconds: float
    device: str
    threads: int
    processes: int = 1
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
            mean_iou=exported.validation_mean_iou,
            map50=exported.validation_map50,
        )
