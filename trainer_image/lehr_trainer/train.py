"""The training loop.

Every step gathers a batch from tensors that live on the device, and nothing in it waits for the device: sums are
kept there, and read every 100 steps to see whether they are still finite. The state between two steps is small
and complete (that of the learner, random streams, epoch, step, sums), so a run that is stopped and resumed
ends with the same bits as one that was not. A step is an update of the weights: see `learner.py`.
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

from lehr.contracts.recipe import Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples, epoch_order
from lehr_trainer.determinism import capture_rng, restore_rng
from lehr_trainer.errors import DivergedError
from lehr_trainer.learner import Learner, Sums, updates_per_epoch
from lehr_trainer.measuring import Measured, measure_values
from lehr_trainer.metrics import epoch_line, progress_line
from lehr_trainer.models import scale_pixels
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.utilisation import Meter

CHECKPOINT_EVERY_S = 60.0
# Of what `_capture` writes: a checkpoint of another trainer is not continued.
STATE_VERSION = "2"
PROGRESS_EVERY_S = 5.0
FINITE_EVERY_STEPS = 100
EVALUATION_ROWS = 2048


@dataclass
class Progress:
    """Where training stands: `epoch` epochs are finished, and `step` steps of the next, with their sums."""

    sums: Sums
    epoch: int = 0
    step: int = 0
    epoch_seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)

    def end_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.sums.loss.zero_()
        self.sums.correct.zero_()


def train(
    learner: Learner,
    examples: Examples,
    validation: Examples,
    training: Training,
    *,
    checkpoints: CheckpointFolder,
    stop: StopFlag,
    log: Callable[[str], None],
    meter: Meter | None = None,
    target_std: float = 1.0,
) -> list[EpochRecord]:
    """Train the learner's model in place from its newest checkpoint, if any, to the last epoch or an early end.

    `target_std` is how much of its own units a target to predict has been divided by.

    `meter` is told what it takes. Raises DivergedError when the loss is no longer finite, TrainingStopped when asked
    to stop.
    """
    device = examples.labels.device
    meter = meter or Meter()
    progress = Progress(Sums.zero(device))
    saved = checkpoints.load()
    if saved is not None:
        _restore(saved, learner, progress, meter)
        log(f"resumed at epoch {progress.epoch + 1} step {progress.step}")

    def goes_on() -> bool:
        return progress.epoch < training.epochs and not learner.is_over(progress.epoch)

    if goes_on():
        meter.start(learner.model, examples.images, log)
    steps = updates_per_epoch(len(examples), training)
    rows_per_step = training.batch_size * training.accumulate_steps

    def save() -> None:
        checkpoints.save(progress.epoch * steps + progress.step, _capture(learner, progress, meter))

    while goes_on():
        order = epoch_order(len(examples), seed=training.seed, epoch=progress.epoch).to(device)
        drawn = learner.augmentation.draws(
            len(examples), seed=training.seed, epoch=progress.epoch, device=device
        )
        updates = zip(order.split(rows_per_step), drawn.split(rows_per_step), strict=True)
        learner.begin_epoch()
        last_checkpoint = last_sign = entered = time.monotonic()
        before = progress.epoch_seconds

        for rows, draws in islice(updates, progress.step, None):
            number = progress.epoch * steps + progress.step
            meter.data_seconds += learner.update(examples, rows, number, progress.sums, draws)
            progress.step += 1
            now = time.monotonic()
            progress.epoch_seconds = before + now - entered

            if progress.step % FINITE_EVERY_STEPS == 0:
                _refuse_divergence(float(progress.sums.loss), progress)
            if stop.is_set:
                save()
                raise TrainingStopped(progress.epoch + 1, progress.step)
            if now - last_checkpoint >= CHECKPOINT_EVERY_S:
                save()
                last_checkpoint = time.monotonic()
            if now - last_sign >= PROGRESS_EVERY_S:
                seen = min(progress.step * rows_per_step, len(examples))
                mean = float(progress.sums.loss) / seen
                log(progress_line(progress.epoch + 1, training.epochs, progress.step, steps, mean))
                last_sign = now

        loss = float(progress.sums.loss) / len(examples)
        progress.epoch_seconds = before + time.monotonic() - entered
        meter.end_epoch(device)
        _refuse_divergence(loss, progress)
        with learner.exportable():
            measured = measure(learner.model, validation).scaled(target_std)
            _refuse_divergence(measured.loss, progress)
            record = EpochRecord(
                epoch=progress.epoch + 1,
                loss=loss,
                accuracy=None
                if examples.labels.is_floating_point()
                else int(progress.sums.correct) / len(examples),
                validation_loss=measured.loss,
                validation_accuracy=measured.accuracy,
                validation_rmse=measured.rmse,
                validation_mae=measured.mae,
                samples_per_second=len(examples) / progress.epoch_seconds,
                seconds=progress.epoch_seconds,
                learning_rate=learner.learning_rate((progress.epoch + 1) * steps - 1),
            )
            learner.end_epoch(record)
        progress.end_epoch(record)
        save()
        log(epoch_line(record, training.epochs))
    if (stopping := learner.stopping) is not None:
        log(stopping.verdict(progress.epoch, training.epochs))
    return progress.records


def measure(model: Any, examples: Examples) -> Measured:
    """Whatever the task measures, on rows that are held out."""
    if examples.labels.is_floating_point():
        return measure_values(model, examples)
    loss, accuracy = evaluate(model, examples)
    return Measured(loss=loss, accuracy=accuracy)


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


def _capture(learner: Learner, progress: Progress, meter: Meter) -> dict[str, Any]:
    return {
        "learner": learner.state_dict(),
        "rng": capture_rng(),
        "epoch": progress.epoch,
        "step": progress.step,
        "epoch_seconds": progress.epoch_seconds,
        "loss_sum": progress.sums.loss,
        "correct": progress.sums.correct,
        "records": msgspec.to_builtins(progress.records),
        "meter": meter.state(),
    }


def _restore(saved: Mapping[str, Any], learner: Learner, progress: Progress, meter: Meter) -> None:
    learner.load_state_dict(saved["learner"])
    restore_rng(saved["rng"])
    progress.epoch, progress.step = saved["epoch"], saved["step"]
    progress.epoch_seconds = saved["epoch_seconds"]
    progress.sums.loss.copy_(saved["loss_sum"])
    progress.sums.correct.copy_(saved["correct"])
    meter.restore(saved["meter"])
    progress.records = msgspec.convert(saved["records"], type=list[EpochRecord])
