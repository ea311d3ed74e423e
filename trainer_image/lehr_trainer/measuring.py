"""What a model is measured by on rows that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

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
# A detector keeps maps of an image where a classifier soon has a few numbers.
BOX_ROWS = 128


@dataclass(frozen=True)
class Measured:
    """Mean cross-entropy in nats, without label smoothing, and accuracy.

    Of values to predict: the mean squared error, its root, and the mean absolute error. Of boxes: the mean loss, and
    mAP at an IoU of 0.5. None of no rows.
    """

    loss: float | None = None
    accuracy: float | None = None
    rmse: float | None = None
    mae: float | None = None
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
    measure_of = {"labels": _of_labels, "values": _of_values, "boxes": _of_boxes}
    return measure_of[kind](parts, len(examples))


def _of_labels(parts: Parts, rows: int) -> Measured:
    loss_sum, correct = 0.0, 0
    for logits, labels in parts:
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
    return Measured(loss=loss_sum / rows, accuracy=correct / rows)


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
