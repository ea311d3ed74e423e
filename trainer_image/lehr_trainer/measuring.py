"""What a model is measured by on rows that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lehr.contracts.file_units import IGNORED
from lehr_runtime.detection import CORNERS, count_detection, merge_detection, summarise_detection
from lehr_trainer.boxes import answers_of, detection
from lehr_trainer.data import AnyExamples
from lehr_trainer.models import scale_pixels
from lehr_trainer.targets import kind_of

Tensor = Any
Watch = Callable[[Tensor, Tensor], None]
# Outputs and targets, part by part.
Parts = Iterator[tuple[Tensor, Tensor]]
EVALUATION_ROWS = 2048
# Of masks: 256 of 64 x 64.
EVALUATION_PIXELS = 1 << 20
# A detector keeps maps of an image where a classifier soon has a few numbers.
BOX_ROWS = 128


@dataclass(frozen=True)
class Measured:
    """Mean cross-entropy in nats, without label smoothing, and accuracy; of masks, over the pixels that count, and the
    mean IoU of the labels that occur.

    Of values to predict: the mean squared error, its root, and the mean absolute error. Of boxes: the mean loss, and
    mAP at an IoU of 0.5. None of no rows.
    """

    loss: float | None = None
    accuracy: float | None = None
    rmse: float | None = None
    mae: float | None = None
    mean_iou: float | None = None
    map50: float | None = None

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
    kind = kind_of(examples.labels)
    if kind == "boxes":
        rows = min(rows, BOX_ROWS)
    parts = _outputs(model, examples, watch, rows, beat)
    if kind == "masks":
        return _of_masks(parts)
    measure_of = {"labels": _of_labels, "values": _of_values, "boxes": _of_boxes}
    return measure_of[kind](parts, len(examples))


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


def _of_boxes(parts: Parts, rows: int) -> Measured:
    loss_sum, counted = 0.0, []
    for maps, targets in parts:
        loss_sum += float(detection(maps, targets)) * len(targets)
        answers = answers_of(maps).cpu().numpy()
        labels = answers.shape[2] - CORNERS
        counted.append(count_detection(answers, targets.cpu().numpy(), labels, 0.0))
    counts = merge_detection(counted)
    metrics = summarise_detection(counts, [str(label) for label in range(len(counts.labels))])
    return Measured(loss=loss_sum / rows, map50=metrics.map50)


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
