"""The training loop.

Every step gathers a batch from tensors that live on the device, and nothing in it waits for the device: sums are
kept there, and read every 100 steps to see whether training still converges (`divergence.py`). The state between two
steps is small and complete (`progress.py`), so a run that is stopped and resumed ends with the same bits as one that
was not. A step is an update of the weights: see `learner.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from lehr.contracts.recipe_tables import Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import AnyExamples, epoch_order
from lehr_trainer.determinism import flushed_denormals
from lehr_trainer.divergence import LossWatch, refuse_bad_weights
from lehr_trainer.errors import DivergedError
from lehr_trainer.heartbeat import Heartbeat
from lehr_trainer.learner import ALONE, Learner, Sums, updates_per_epoch
from lehr_trainer.measuring import Measured, evaluation_rows, measure
from lehr_trainer.memory import MicroBatch
from lehr_trainer.metrics import epoch_line, progress_line
from lehr_trainer.parallel import Agreement, Group
from lehr_trainer.progress import Progress, capture, restore
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.targets import kind_of
from lehr_trainer.tuning import Tuning
from lehr_trainer.utilisation import Meter
from lehr_trainer.wall import Wall

CHECKPOINT_EVERY_S = 60.0
PROGRESS_EVERY_S = 5.0

Tune = Callable[[Learner, AnyExamples, float | None], Tuning]


class Loop:
    """One training, of the learner's model in place. What it writes between two steps is all that the next depends on.

    With `rung_epochs` it ends after so many, as planned for all of them: a longer training goes on from there.
    `target_std` is how much of its own units a target to predict has been divided by. `meter` is told what it takes,
    `heartbeat` that it goes on; `micro_batch` is how much goes through the model at once. `group` are the processes
    that train together, each with a loop of its own; rank 0 alone reads and writes checkpoints. At its `wall` it ends
    in the midst of an epoch, which is then measured as if it were whole.
    """

    def __init__(
        self,
        learner: Learner,
        examples: AnyExamples,
        validation: AnyExamples,
        training: Training,
        *,
        checkpoints: CheckpointFolder,
        stop: StopFlag,
        log: Callable[[str], None],
        meter: Meter | None = None,
        heartbeat: Heartbeat | None = None,
        micro_batch: MicroBatch | None = None,
        group: Group = ALONE,
        rung_epochs: int | None = None,
        target_std: float = 1.0,
        wall: Wall | None = None,
    ) -> None:
        self._learner, self._examples, self._validation = learner, examples, validation
        self._training, self._checkpoints, self._stop, self._log = training, checkpoints, stop, log
        self._meter, self._heartbeat, self._group = meter or Meter(), heartbeat, group
        self._wall = wall or Wall()
        self._micro_batch = micro_batch or MicroBatch.of(training.batch_size)
        self._epochs, self._target_std = min(training.epochs, rung_epochs or training.epochs), target_std
        self._device = examples.labels.device
        self._agree = Agreement(group)
        self._progress = Progress(Sums.zero(self._device))
        self._steps = updates_per_epoch(len(examples), training)
        self._rows_per_step = training.batch_size * training.accumulate_steps
        self._watch = LossWatch(
            rows=len(examples), rows_per_update=self._rows_per_step, device=self._device, group=group
        )
        self._began = 0

    @flushed_denormals()
    def run(self, tune: Tune | None = None) -> list[EpochRecord]:
        """Train from the newest checkpoint, if any, to the last epoch or an early end. Returns all epochs' records.

        `tune` is asked before the first step of a run that begins how steps are to run, with the operations of one row,
        or None. Raises DivergedError when the loss or a weight is no longer finite or the loss has exploded,
        TrainingStopped when asked to stop.
        """
        self._begin(tune)
        while self._goes_on():
            self._train_epoch()
            self._end_epoch()
        return self._finish()

    def _begin(self, tune: Tune | None) -> None:
        """Take the newest checkpoint, or find how steps are to run."""
        learner, group, progress, micro_batch = self._learner, self._group, self._progress, self._micro_batch
        saved = group.of_first(self._checkpoints.load() if group.is_first else None)
        if saved is not None:
            restore(saved, learner, progress, self._meter, group)
            self._watch.restore(saved["watch"])
            self._wall.restore(saved["wall"])
            micro_batch.restore(saved["micro_batch"])
            self._log(f"resumed at epoch {progress.epoch + 1} step {progress.step}")
        learner.micro_batch_rows = micro_batch.rows
        if saved is not None:
            # Tuned for whole batches, and their halves may not run so.
            learner.run_as(learner.tuning)
        micro_batch.is_training = True
        self._began = self._updates_done
        if self._goes_on():
            self._meter.count(learner.model, self._examples.span(0, 1)[0], self._log)
            if saved is None and tune is not None:
                # Hosts may have different numbers of cores; what rank 0 found is what a checkpoint says.
                learner.run_as(group.of_first(tune(learner, self._examples, self._meter.flops_per_sample)))
            self._meter.start(self._device)
        # What was found out by trying decides bits: it is durable before the first update.
        has_tried = tune is not None and saved is None and learner.tuning != Tuning()
        if has_tried or (
            micro_batch.is_reduced and (saved is None or saved["micro_batch"] != micro_batch.rows)
        ):
            self._save()

    def _goes_on(self) -> bool:
        epoch = self._progress.epoch
        return epoch < self._epochs and self._wall.ended_at is None and not self._learner.is_over(epoch)

    def _train_epoch(self) -> None:
        """The rest of the epoch, update by update, or until the wall."""
        progress, learner, meter, watch = self._progress, self._learner, self._meter, self._watch
        updates = self._updates()
        learner.begin_epoch()
        (so_far,) = self._group.total(float(progress.sums.loss))
        watch.begin(so_far, progress.step)
        self._beat()
        last_checkpoint = last_sign = entered = time.monotonic()
        before = progress.epoch_seconds
        for rows, draws in updates:
            number = self._updates_done
            meter.data_seconds += learner.update(self._examples, rows, number, progress.sums, draws)
            progress.step += 1
            watch.note(progress.sums.loss)
            self._beat()
            now = time.monotonic()
            progress.epoch_seconds = before + now - entered

            if watch.is_due():
                watch.look(progress.epoch + 1)
            is_stopping, is_due, is_spent = self._agree(
                self._stop.is_set, now - last_checkpoint >= CHECKPOINT_EVERY_S, self._wall.is_spent
            )
            if is_stopping:
                self._save()
                raise self._stopped()
            if is_spent or self._wall.is_last(self._updates_done):
                self._wall.ended_at = self._updates_done
                break
            if is_due:
                self._save()
                last_checkpoint = time.monotonic()
            if now - last_sign >= PROGRESS_EVERY_S:
                self._log_progress()
                last_sign = now
        progress.epoch_seconds = before + time.monotonic() - entered

    def _end_epoch(self) -> None:
        """Measure the weights that the epoch would export, and write them down."""
        progress, learner, rows = self._progress, self._learner, self._rows_seen
        self._meter.end_epoch(self._device)
        self._watch.look(progress.epoch + 1)
        refuse_bad_weights(learner.model, epoch=progress.epoch + 1, step=progress.step, group=self._group)
        sums = progress.sums
        loss, correct, counted = self._group.total(float(sums.loss), int(sums.correct), int(sums.counted))
        with self._saved_when_stopped(), learner.exportable():
            measured, metrics = self._validate()
            record = EpochRecord(
                epoch=progress.epoch + 1,
                loss=loss / rows,
                accuracy=self._accuracy(int(correct), int(counted)),
                validation_loss=measured.loss,
                validation_accuracy=measured.accuracy,
                validation_rmse=measured.rmse,
                validation_mae=measured.mae,
                validation_mean_iou=measured.mean_iou,
                validation_map50=measured.map50,
                samples_per_second=rows / progress.epoch_seconds,
                seconds=progress.epoch_seconds,
                learning_rate=learner.learning_rate(self._updates_done - 1),
                metrics=metrics,
            )
            learner.end_epoch(record)
        progress.end_epoch(record)
        self._save()
        self._log(epoch_line(record, self._training.epochs))

    def _accuracy(self, correct: int, counted: int) -> float | None:
        """Of rows, or of the pixels that `counted`; None of values to predict and of boxes."""
        match kind_of(self._examples.labels):
            case "labels":
                return correct / self._rows_seen
            case "masks":
                return correct / max(1, counted)
            case _:
                return None

    def _finish(self) -> list[EpochRecord]:
        """The records of all epochs."""
        if self._heartbeat is not None:
            self._heartbeat.rest()
        self._micro_batch.is_training = False
        epoch, stopping, wall = self._progress.epoch, self._learner.stopping, self._wall
        if wall.ended_at is not None:
            self._log(wall.verdict(epoch, self._epochs))
        if stopping is not None and (stopping.patience or wall.ended_at is not None):
            self._log(stopping.verdict(epoch, self._epochs))
        return self._progress.records

    @property
    def _rows_seen(self) -> int:
        """Of the epoch."""
        return min(self._progress.step * self._rows_per_step, len(self._examples))

    @property
    def _updates_done(self) -> int:
        return self._progress.epoch * self._steps + self._progress.step

    def _updates(self) -> Iterator[tuple[Any, Any]]:
        """The rows and draws of the updates that the epoch still has."""
        rows, seed, progress = len(self._examples), self._training.seed, self._progress
        order = epoch_order(rows, seed=seed, epoch=progress.epoch).to(self._examples.index_device)
        drawn = self._learner.augmentation.draws(rows, seed=seed, epoch=progress.epoch, device=self._device)
        groups = order.split(self._rows_per_step)
        self._examples.read_ahead(self._learner.own_batches(groups[progress.step :]))
        return islice(zip(groups, drawn.split(self._rows_per_step), strict=True), progress.step, None)

    def _validate(self) -> tuple[Measured, dict[str, float | None]]:
        """What the held-out rows say, and the project's metrics of them.

        All processes evaluate all rows, so that measures that are no sums stay simple; rank 0 has the say.
        """
        measured = measure(
            self._learner.model,
            self._validation,
            watch=self._learner.metrics.add,
            rows=self._micro_batch.share_of(evaluation_rows(self._validation)),
            beat=self._beat_while_validating,
        ).scaled(self._target_std)
        measured, metrics = self._group.of_first((measured, self._learner.metrics.take()))
        if measured.loss is not None and not math.isfinite(measured.loss):
            place = f"epoch {self._progress.epoch + 1} step {self._progress.step}"
            raise DivergedError(
                f"the validation loss is no longer finite at {place}", hint="lower the learning rate"
            )
        return measured, metrics

    def _save(self) -> None:
        """Write a checkpoint, of what was looked at and found good. Every process calls this at the same step."""
        progress, group = self._progress, self._group
        self._watch.look(progress.epoch + 1)
        refuse_bad_weights(self._learner.model, epoch=progress.epoch + 1, step=progress.step, group=group)
        state = capture(self._learner, progress, self._meter, group)
        if group.is_first:
            own = {
                "watch": self._watch.state(),
                "wall": self._wall.state(),
                "micro_batch": self._micro_batch.rows,
            }
            self._checkpoints.save(self._updates_done, state | own)

    def _stopped(self) -> TrainingStopped:
        epoch, step = self._progress.epoch + 1, self._progress.step
        return TrainingStopped(epoch, step, began=self._began, ended=self._updates_done)

    @contextmanager
    def _saved_when_stopped(self) -> Iterator[None]:
        """A request to stop that is seen within is answered once a checkpoint is durable."""
        try:
            yield
        except TrainingStopped:
            self._save()
            raise

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat(f"epoch {self._progress.epoch + 1} step {self._progress.step}")

    def _beat_while_validating(self) -> None:
        """Several processes do not ask one another within a validation: they answer after it."""
        self._beat()
        if self._stop.is_set and self._group.size == 1:
            raise self._stopped()

    def _log_progress(self) -> None:
        """The mean loss is this process', which has every n-th row."""
        progress = self._progress
        mean = float(progress.sums.loss) * self._group.size / self._rows_seen
        self._log(progress_line(progress.epoch + 1, self._training.epochs, progress.step, self._steps, mean))
