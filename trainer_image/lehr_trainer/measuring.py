"""What a model is measured by on rows that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lehr.contracts.file_units import IGNORED
from lehr_trainer.data import AnyExamples
from lehr_trainer.models import scale_pixels

Tensor = Any
Watch = Callable[[Tensor, Tensor], None]
# Outputs and targets, part by part.
Parts = Iterator[tuple[Tensor, Tensor]]
EVALUATION_ROWS = 2048
# Of masks: 256 of 64 x 64.
EVALUATION_PIXELS = 1 << 20


@dataclass(frozen=True)
class Measured:
    """Mean cross-entropy in nats, without label smoothing, and accuracy; of masks, over the pixels that count, and the
    mean IoU of the labels that occur.

    Of values to predict: the mean squared error, its root, and the mean absolute error. None of no rows.
    """

    loss: float | None = None
    accuracy: float | None = None
    rmse: float | None = None
    mae: float | None = None
    mean_iou: float | None = None

    def scaled(self, std: float) -> Measured:
        """With errors in the units of a target that was divided by `std`; the loss stays as it is."""
        if self.rmse is None or self.mae is None:
            return self
        return Measured(self.loss, None, self.rmse * std, self.mae * std)


def measure(
    model: Any,
    examples: AnyExamples,
    *,
    watch: Watch | None = None,
    rows: int = EVALUATION_ROWS,
    beat: Callable[[], None] = lambda: None,
) -> Measured:
    """Whatever the task measures, in evaluation mode.

    `watch` is given outputs and targets, part by part; `rows` are evaluated at a time, and `beat` is called before
    each time.
    """
    if not len(examples):
        return Measured()
    parts = _outputs(model, examples, watch, rows, beat)
    if examples.labels.is_floating_point():
        return _of_values(parts, len(examples))
    if examples.labels.dim() > 2:
        return _of_masks(parts)
    return _of_labels(parts, len(examples))


def _of_labels(parts: Parts, rows: int) -> Measured:
    loss_sum, correct = 0.0, 0
    for logits, labels in parts:
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
    return Measured(loss=loss_sum / rows, accuracy=correct / rows)


def _of_masks(parts: Parts) -> Measured:
    """IoU: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.jaccard_score.html, of all pixels at once;
    a label that no pixel has and none is given is left out of the mean.
    """
    loss_sum, confusion = 0.0, torch.zeros(0)
    for logits, masks in parts:
        classes = logits.shape[1]
        counts = masks != IGNORED
        flat, truth = logits.movedim(1, -1)[counts], masks[counts]
        loss_sum += float(F.cross_entropy(flat, truth, reduction="sum"))
        pairs = torch.bincount(truth * classes + flat.argmax(1), minlength=classes**2).cpu()
        confusion = (
            confusion + pairs.view(classes, classes) if confusion.numel() else pairs.view(classes, classes)
        )
    pixels = max(1, int(confusion.sum()))
    overlap = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - overlap
    occurring = union > 0
    ious = overlap[occurring].double() / union[occurring]
    return Measured(
        loss=loss_sum / pixels,
        accuracy=int(overlap.sum()) / pixels,
        mean_iou=float(ious.mean()) if len(ious) else 0.0,
    )


def evaluation_rows(examples: AnyExamples) -> int:
    """How many rows are evaluated at a time: a network of pixels has as many values for each of them as the image."""
    if examples.labels.dim() < 3:
        return EVALUATION_ROWS
    return rows_of_pixels(examples.labels.shape[1] * examples.labels.shape[2])


def rows_of_pixels(pixels: int) -> int:
    """How many masks of so many pixels are evaluated at a time."""
    return max(1, min(EVALUATION_ROWS, EVALUATION_PIXELS // pixels))


def _of_values(parts: Parts, rows: int) -> Measured:
    squares = absolutes = 0.0
    for values, targets in parts:
        errors = (values - targets).double()
        squares += float(errors.square().sum())
        absolutes += float(errors.abs().sum())
    loss = squares / rows
    return Measured(loss=loss, rmse=math.sqrt(loss), mae=absolutes / rows)


def _outputs(
    model: Any, examples: AnyExamples, watch: Watch | None, rows: int, beat: Callable[[], None]
) -> Parts:
    model.eval()
    with torch.inference_mode():
        for first in range(0, len(examples), rows):
            beat()
            inputs, targets = examples.span(first, first + rows)
            outputs = model(scale_pixels(inputs))
            yield outputs, targets
            if watch is not None:
                watch(outputs, targets)
