"""The training loop.

Every step gathers a batch from tensors that live on the device, and nothing in it waits for the device: sums are
kept there, and read every 100 steps to see whether training still converges (`divergence.py`). The state between two
steps is small and complete (that of the learner, random streams, epoch, step, sums), so a run that is stopped and
resumed ends with the same bits as one that was not. A step is an update of the weights: see `learner.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import torch
import torch.nn.functional as F

from lehr.contracts.recipe import Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import AnyExamples, epoch_order
from lehr_trainer.determinism import capture_rng, flushed_denormals, restore_rng
from lehr_trainer.divergence import LossWatch, refuse_bad_weights
from lehr_trainer.errors import DivergedError
from lehr_trainer.heartbeat import Heartbeat
from lehr_trainer.learner import Learner, Sums, updates_per_epoch
from lehr_trainer.memory import MicroBatch
from lehr_trainer.metrics import epoch_line, progress_line
from lehr_trainer.models import scale_pixels
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.tuning import Tuning
from lehr_trainer.utilisation import Meter

CHECKPOINT_EVERY_S = 60.0
# Of what `_capture` writes: a checkpoint of another trainer is not continued.
STATE_VERSION = "3"
PROGRESS_EVERY_S = 5.0
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


@flushed_denormals()
def train(
    learner: Learner,
    examples: AnyExamples,
    validation: AnyExamples,
    training: Training,
    *,
    checkpoints: CheckpointFolder,
    stop: StopFlag,
    log: Callable[[str], None],
    meter: Meter | None = None,
    tune: Callable[[Learner, AnyExamples, float | None], Tuning] | None = None,
    heartbeat: Heartbeat | None = None,
    micro_batch: MicroBatch | None = None,
) -> list[EpochRecord]:
    """Train the learner's model in place from its newest checkpoint, if any, to the last epoch or an early end.

    `meter` is told what it takes, `heartbeat` that it goes on; `micro_batch` is how much goes through the model at
    once. `tune` is asked before the first step of a run that begins how steps are to run, with the operations of one
    row, or None. Raises DivergedError when the loss or a weight is no longer finite or the loss has exploded,
    TrainingStopped when asked to stop.
    """
    device = examples.labels.device
    meter = meter or Meter()
    micro_batch = micro_batch or MicroBatch.of(training.batch_size)
    progress = Progress(Sums.zero(device))
    rows_per_step = training.batch_size * training.accumulate_steps
    watch = LossWatch(rows=len(examples), rows_per_update=rows_per_step, device=device)
    saved = checkpoints.load()
    if saved is not None:
        _restore(saved, learner, progress, meter)
        watch.restore(saved["watch"])
        micro_batch.restore(saved["micro_batch"])
        log(f"resumed at epoch {progress.epoch + 1} step {progress.step}")
    learner.micro_batch_rows = micro_batch.rows
    micro_batch.is_training = True

    def goes_on() -> bool:
        return progress.epoch < training.epochs and not learner.is_over(progress.epoch)

    if goes_on():
        meter.count(learner.model, examples.span(0, 1)[0], log)
        if saved is None and tune is not None:
            learner.run_as(tune(learner, examples, meter.flops_per_sample))
        meter.start(device)
    steps = updates_per_epoch(len(examples), training)

    def updates_done() -> int:
        return progress.epoch * steps + progress.step

    began = updates_done()

    def stopped() -> TrainingStopped:
        return TrainingStopped(progress.epoch + 1, progress.step, began=began, ended=updates_done())

    def save() -> None:
        watch.look(progress.epoch + 1)
        refuse_bad_weights(learner.model, epoch=progress.epoch + 1, step=progress.step)
        state = _capture(learner, progress, meter) | {
            "watch": watch.state(),
            "micro_batch": micro_batch.rows,
        }
        checkpoints.save(updates_done(), state)

    def beat() -> None:
        if heartbeat is not None:
            heartbeat.beat(f"epoch {progress.epoch + 1} step {progress.step}")

    def beat_while_validating() -> None:
        beat()
        if stop.is_set:
            raise stopped()

    # What was found out by trying decides bits: it is durable before the first update.
    has_tried = tune is not None and saved is None and learner.tuning != Tuning()
    if has_tried or (micro_batch.is_reduced and (saved is None or saved["micro_batch"] != micro_batch.rows)):
        save()

    while goes_on():
        order = epoch_order(len(examples), seed=training.seed, epoch=progress.epoch).to(device)
        drawn = learner.augmentation.draws(
            len(examples), seed=training.seed, epoch=progress.epoch, device=device
        )
        groups = order.split(rows_per_step)
        updates = zip(groups, drawn.split(rows_per_step), strict=True)
        examples.read_ahead(
            part for rows in groups[progress.step :] for part in rows.split(learner.micro_batch_rows)
        )
        learner.begin_epoch()
        watch.begin(float(progress.sums.loss), progress.step)
        beat()
        last_checkpoint = last_sign = entered = time.monotonic()
        before = progress.epoch_seconds

        for rows, draws in islice(updates, progress.step, None):
            meter.data_seconds += learner.update(examples, rows, updates_done(), progress.sums, draws)
            progress.step += 1
            watch.note(progress.sums.loss)
            beat()
            now = time.monotonic()
            progress.epoch_seconds = before + now - entered

            if watch.is_due():
                watch.look(progress.epoch + 1)
            if stop.is_set:
                save()
                raise stopped()
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
        watch.look(progress.epoch + 1)
        refuse_bad_weights(learner.model, epoch=progress.epoch + 1, step=progress.step)
        with _saved_when_stopped(save), learner.exportable():
            validation_loss, validation_accuracy = evaluate(
                learner.model,
                validation,
                watch=learner.metrics.add,
                rows=micro_batch.share_of(EVALUATION_ROWS),
                beat=beat_while_validating,
            )
            _refuse_divergence(validation_loss, progress)
            record = EpochRecord(
                epoch=progress.epoch + 1,
                loss=loss,
                accuracy=int(progress.sums.correct) / len(examples),
                validation_loss=validation_loss,
                validation_accuracy=validation_accuracy,
                samples_per_second=len(examples) / progress.epoch_seconds,
                seconds=progress.epoch_seconds,
                learning_rate=learner.learning_rate((progress.epoch + 1) * steps - 1),
                metrics=learner.metrics.take(),
            )
            learner.end_epoch(record)
        progress.end_epoch(record)
        save()
        log(epoch_line(record, training.epochs))
    if heartbeat is not None:
        heartbeat.rest()
    micro_batch.is_training = False
    if (stopping := learner.stopping) is not None:
        log(stopping.verdict(progress.epoch, training.epochs))
    return progress.records


@contextmanager
def _saved_when_stopped(save: Callable[[], None]) -> Iterator[None]:
    """A request to stop that is seen within is answered once a checkpoint is durable."""
    try:
        yield
    except TrainingStopped:
        save()
        raise


def evaluate(
    model: Any,
    examples: AnyExamples,
    *,
    watch: Callable[[Any, Any], None] | None = None,
    rows: int = EVALUATION_ROWS,
    beat: Callable[[], None] = lambda: None,
) -> tuple[float, float] | tuple[None, None]:
    """Mean cross-entropy in nats, without label smoothing, and accuracy; None of no rows.

    `watch` is given logits and labels, part by part; `rows` are evaluated at a time, and `beat` is called before
    each time.
    """
    if not len(examples):
        return None, None
    model.eval()
    loss_sum, correct = 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(examples), rows):
            beat()
            images, labels = examples.span(first, first + rows)
            logits = model(scale_pixels(images))
            loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
            if watch is not None:
                watch(logits, labels)
    return loss_sum / len(examples), correct / len(examples)


def _refuse_divergence(validation_loss: float | None, progress: Progress) -> None:
    if validation_loss is not None and not math.isfinite(validation_loss):
        raise DivergedError(
            f"the validation loss is no longer finite at epoch {progress.epoch + 1} step {progress.step}",
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
