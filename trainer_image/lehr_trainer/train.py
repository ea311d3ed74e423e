"""The training loop.

Every step gathers a batch from tensors that live on the device, and nothing in it waits for the device: sums are
kept there, and read every 100 steps to see whether they are still finite. The state between two steps is small
and complete (weights, optimiser, random streams, epoch, step, sums), so a run that is stopped and resumed
ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import torch
import torch.nn.functional as F

from lehr.contracts.recipe import Augment, Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.augment import Augmentation
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples, epoch_order
from lehr_trainer.determinism import capture_rng, restore_rng
from lehr_trainer.errors import DivergedError
from lehr_trainer.metrics import epoch_line, progress_line
from lehr_trainer.models import scale_pixels
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.utilisation import Meter

CHECKPOINT_EVERY_S = 60.0
PROGRESS_EVERY_S = 5.0
FINITE_EVERY_STEPS = 100
EVALUATION_ROWS = 2048
NO_AUGMENTATION = Augment()


@dataclass
class Progress:
    """Where training stands: `epoch` epochs are finished, and `step` steps of the next, with their sums."""

    loss_sum: Any
    correct: Any
    epoch: int = 0
    step: int = 0
    epoch_seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)

    def end_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.loss_sum.zero_()
        self.correct.zero_()


def train(
    model: Any,
    optimizer: Any,
    examples: Examples,
    validation: Examples,
    training: Training,
    *,
    checkpoints: CheckpointFolder,
    stop: StopFlag,
    log: Callable[[str], None],
    augment: Augment = NO_AUGMENTATION,
    meter: Meter | None = None,
) -> list[EpochRecord]:
    """Train `model` in place from its newest checkpoint, if any, to the last epoch; `meter` is told what it takes.

    Raises DivergedError when the loss is no longer finite, TrainingStopped when asked to stop.
    """
    device = examples.labels.device
    augmentation, meter = Augmentation(augment), meter or Meter()
    progress = Progress(
        loss_sum=torch.zeros((), dtype=torch.float64, device=device),
        correct=torch.zeros((), dtype=torch.int64, device=device),
    )
    saved = checkpoints.load()
    if saved is not None:
        _restore(saved, model, optimizer, progress, meter)
        log(f"resumed at epoch {progress.epoch + 1} step {progress.step}")
    if progress.epoch < training.epochs:
        meter.start(model, examples.images, log)
    steps = -(-len(examples) // training.batch_size)

    def save() -> None:
        checkpoints.save(progress.epoch * steps + progress.step, _capture(model, optimizer, progress, meter))

    while progress.epoch < training.epochs:
        order = epoch_order(len(examples), seed=training.seed, epoch=progress.epoch).to(device)
        draws = augmentation.draws(len(examples), seed=training.seed, epoch=progress.epoch, device=device)
        batches = zip(order.split(training.batch_size), draws.split(training.batch_size), strict=True)
        model.train()
        last_checkpoint = last_sign = entered = time.monotonic()
        before = progress.epoch_seconds

        for rows, drawn in islice(batches, progress.step, None):
            asked = time.monotonic()
            images = augmentation.pixels(examples.images.index_select(0, rows), drawn)
            labels = examples.labels.index_select(0, rows)
            meter.data_seconds += time.monotonic() - asked
            logits = model(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=training.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            progress.loss_sum.add_(loss.detach(), alpha=len(rows))
            progress.correct.add_((logits.argmax(1) == labels).sum())
            progress.step += 1
            now = time.monotonic()
            progress.epoch_seconds = before + now - entered

            if progress.step % FINITE_EVERY_STEPS == 0:
                _refuse_divergence(float(progress.loss_sum), progress)
            if stop.is_set:
                save()
                raise TrainingStopped(progress.epoch + 1, progress.step)
            if now - last_checkpoint >= CHECKPOINT_EVERY_S:
                save()
                last_checkpoint = time.monotonic()
            if now - last_sign >= PROGRESS_EVERY_S:
                seen = min(progress.step * training.batch_size, len(examples))
                mean = float(progress.loss_sum) / seen
                log(progress_line(progress.epoch + 1, training.epochs, progress.step, steps, mean))
                last_sign = now

        loss = float(progress.loss_sum) / len(examples)
        progress.epoch_seconds = before + time.monotonic() - entered
        meter.end_epoch(device)
        _refuse_divergence(loss, progress)
        validation_loss, validation_accuracy = evaluate(model, validation)
        _refuse_divergence(validation_loss, progress)
        record = EpochRecord(
            epoch=progress.epoch + 1,
            loss=loss,
            accuracy=int(progress.correct) / len(examples),
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            samples_per_second=len(examples) / progress.epoch_seconds,
            seconds=progress.epoch_seconds,
        )
        progress.end_epoch(record)
        save()
        log(epoch_line(record, training.epochs))
    return progress.records


def evaluate(model: Any, examples: Examples) -> tuple[float, float] | tuple[None, None]:
    """Mean cross-entropy in nats, without label smoothing, and accuracy; None of no rows."""
    if not len(examples):
        return None, None
    model.eval()
    loss_sum, correct = 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(examples), EVALUATION_ROWS):
            labels = examples.labels[first : first + EVALUATION_ROWS]
            logits = model(scale_pixels(examples.images[first : first + EVALUATION_ROWS]))
            loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
    return loss_sum / len(examples), correct / len(examples)


def _refuse_divergence(loss: float | None, progress: Progress) -> None:
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(
            f"the loss is no longer finite at epoch {progress.epoch + 1} step {progress.step}",
            hint="lower the learning rate",
        )


def _capture(model: Any, optimizer: Any, progress: Progress, meter: Meter) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": capture_rng(),
        "epoch": progress.epoch,
        "step": progress.step,
        "epoch_seconds": progress.epoch_seconds,
        "loss_sum": progress.loss_sum,
        "correct": progress.correct,
        "records": msgspec.to_builtins(progress.records),
        "meter": meter.state(),
    }


def _restore(saved: Mapping[str, Any], model: Any, optimizer: Any, progress: Progress, meter: Meter) -> None:
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    restore_rng(saved["rng"])
    progress.epoch, progress.step = saved["epoch"], saved["step"]
    progress.epoch_seconds = saved["epoch_seconds"]
    progress.loss_sum.copy_(saved["loss_sum"])
    progress.correct.copy_(saved["correct"])
    meter.restore(saved["meter"])
    progress.records = msgspec.convert(saved["records"], type=list[EpochRecord])
