"""Which settings of [training] belong together.

A setting that its optimiser, schedule, loss or task would ignore costs a training as surely as a misspelt key does, so
it is refused: when the recipe is read, for every trial, and again by the job for its hyperparameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from lehr.contracts.data_rules import REGRESSIONS, SEGMENTATIONS, is_table
from lehr.contracts.detection_rules import DETECTIONS
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe_tables import Training

_OF_CLASSES = ("cross_entropy", "focal")
_OF_PIXELS = (*_OF_CLASSES, "dice", "cross_entropy_dice")
LOSSES_OF_TASK = {
    "image_classification": _OF_CLASSES,
    "image_segmentation": _OF_PIXELS,
    "object_detection": ("detection",),
    "audio_classification": _OF_CLASSES,
    "tabular_classification": _OF_CLASSES,
    "tabular_regression": ("mse", "huber"),
}
# The loss of a recipe that says none, where it is not cross_entropy.
DEFAULT_LOSS_OF_TASK = {"object_detection": "detection"}
_ROW_HAS = {"object_detection": "boxes, each with a label"}
OPTIMIZERS_WITH_MOMENTUM = ("muon", "rmsprop", "sgd")
# SageMaker's limit on the value of one hyperparameter:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
HYPERPARAMETER_CHARACTERS = 2500


def refuse_misfits(training: Training, *, task: str, labels: int, is_validated: bool, place: str) -> None:
    """Raise RecipeError, with `place`, for the first setting that the others give no meaning.

    `labels` is the number of classes, `is_validated` whether rows are held out.
    """
    misfits = (
        *_of_optimizer(training),
        *_of_schedule(training),
        *_of_loss(training, task, labels),
        *_of_stopping(training, task, is_validated),
        *_of_start(training, task),
        *_of_residency(training, task),
        *_of_length(training),
    )
    for message, hint in misfits:
        raise RecipeError(message, place=place, hint=hint)


Misfits = Iterator[tuple[str, str]]


def _of_optimizer(training: Training) -> Misfits:
    name = training.optimizer
    if training.momentum and name not in OPTIMIZERS_WITH_MOMENTUM:
        yield (
            f"momentum = {training.momentum} has no meaning for {name}",
            f"momentum belongs to {', '.join(OPTIMIZERS_WITH_MOMENTUM)}; leave it out, or take one of them",
        )
    if training.nesterov and name != "sgd":
        also = "muon has it always" if name == "muon" else 'leave it out, or take optimizer = "sgd"'
        yield f"nesterov = true has no meaning for {name}", f"nesterov belongs to sgd; {also}"
    elif training.nesterov and not training.momentum:
        yield "nesterov = true needs a momentum", "add for example momentum = 0.9, or leave nesterov out"


def _of_schedule(training: Training) -> Misfits:
    schedule = training.schedule
    if schedule == "step" and not training.milestones:
        yield (
            'schedule = "step" needs milestones',
            "say at which parts of the training the rate drops, for example milestones = [0.5, 0.75]",
        )
    owners = {"milestones": "step", "decay_factor": "step", "final_fraction": "cosine"}
    for key, owner in owners.items():
        value = getattr(training, key)
        if value is not None and value != () and schedule != owner:
            yield (
                f'{key} has no meaning for schedule = "{schedule}"',
                f'{key} belongs to schedule = "{owner}"; leave it out, or take that schedule',
            )
    if list(training.milestones) != sorted(set(training.milestones)):
        yield f"milestones are {list(training.milestones)}", "write them in ascending order, each once"
    if schedule == "one_cycle" and training.warmup_fraction == 0:
        yield (
            'warmup_fraction = 0 leaves schedule = "one_cycle" no rise',
            'leave it out for 0.3, or take schedule = "cosine"',
        )


def _of_loss(training: Training, task: str, labels: int) -> Misfits:
    loss = training.loss
    fitting = LOSSES_OF_TASK[task]
    if loss not in fitting:
        yield (
            f'loss = "{loss}" does not fit project.task = "{task}"',
            f"take {' or '.join(fitting)}: a row has "
            + _ROW_HAS.get(task, "a number to predict" if task in REGRESSIONS else "one label of several"),
        )
    if training.label_smoothing and loss not in ("cross_entropy", "cross_entropy_dice"):
        yield (
            f'label_smoothing = {training.label_smoothing} has no meaning for loss = "{loss}"',
            'leave it out, or take loss = "cross_entropy"',
        )
    if training.focal_gamma is not None and loss != "focal":
        yield f'focal_gamma has no meaning for loss = "{loss}"', 'leave it out, or take loss = "focal"'
    weights = training.class_weights
    if weights and loss == "dice":
        yield 'class_weights has no meaning for loss = "dice"', 'leave it out, or take "cross_entropy_dice"'
    elif weights and task in REGRESSIONS:
        yield "class_weights has no meaning without classes", "leave it out"
    elif weights and weights != "balanced" and len(weights) != labels:
        yield (
            f"class_weights has {len(weights)} numbers for {labels} labels",
            'write one for each of data.labels, in their order, or class_weights = "balanced"',
        )


def _of_stopping(training: Training, task: str, is_validated: bool) -> Misfits:
    for key in ("min_delta", "monitor"):
        if getattr(training, key) is not None and not training.patience:
            yield (
                f"{key} has no meaning without patience",
                "add for example patience = 3, the epochs without improvement after which training ends",
            )
    if training.monitor == "validation_mean_iou" and task not in SEGMENTATIONS:
        yield 'monitor = "validation_mean_iou" belongs to segmentation', "leave it out"
    if training.monitor == "validation_accuracy" and task in REGRESSIONS:
        yield 'monitor = "validation_accuracy" has no meaning without classes', "leave it out"
    if training.monitor == "validation_map50" and task not in DETECTIONS:
        yield 'monitor = "validation_map50" belongs to object detection', "leave it out"
    if training.patience and not is_validated:
        yield (
            f"patience = {training.patience} needs held-out rows",
            "make data.validation_fraction more than 0, or leave patience out",
        )


def _of_start(training: Training, task: str) -> Misfits:
    if training.start_from is not None and is_table(task):
        yield (
            f'start_from does not go with project.task = "{task}"',
            "leave it out: codes of categories and the scale of a target are those of each dataset, not of its weights",
        )
    if training.start_anew and training.start_from is None:
        yield (
            "start_anew has no meaning without start_from",
            'add start_from = "champion", or leave start_anew out: every parameter starts anew then',
        )


def _of_residency(training: Training, task: str) -> Misfits:
    if training.residency == "streamed" and is_table(task):
        yield (
            'residency = "streamed" has no meaning for a table',
            "leave it out: the rows of a table stay on the device",
        )


def _of_length(training: Training) -> Misfits:
    for key in ("class_weights", "freeze", "milestones", "start_anew"):
        length = len(msgspec.json.encode(getattr(training, key)))
        if length > HYPERPARAMETER_CHARACTERS:
            yield (
                f"{key} takes {length} characters, a training job carries {HYPERPARAMETER_CHARACTERS}",
                "write shorter numbers or fewer entries",
            )
