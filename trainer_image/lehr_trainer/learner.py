"""What one update of the weights is: learning rate, forward and backward passes, clipping, optimiser, average.

Nothing in an update waits for the device. With `accumulate_steps` an update's rows go through the model in parts of
`batch_size`, whose gradients add up, each by its share of the rows, to that of the whole; a batch norm still sees one
part at a time. An update is never cut by a checkpoint, so gradients need not be kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lehr.contracts.recipe import Augment, Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.augment import Augmentation
from lehr_trainer.data import Examples
from lehr_trainer.early_stopping import EarlyStopping
from lehr_trainer.ema import AveragedWeights
from lehr_trainer.freezing import freeze_parameters
from lehr_trainer.losses import Loss, make_loss
from lehr_trainer.optim import make_optimizer
from lehr_trainer.precision import ForwardContext, Precision, choose_precision, forward_context
from lehr_trainer.schedules import learning_rate

Tensor = Any
NO_AUGMENTATION = Augment()


@dataclass
class Sums:
    """Over the rows of an epoch so far, on the device: the loss, float64, and right answers, int64."""

    loss: Tensor
    correct: Tensor

    @classmethod
    def zero(cls, device: Any) -> Sums:
        return cls(
            torch.zeros((), dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )


def updates_per_epoch(rows: int, training: Training) -> int:
    """How many times the weights change while every one of `rows` is seen once."""
    return -(-rows // (training.batch_size * training.accumulate_steps))


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many rows have their label; of values to predict, which are floats, none."""
    if labels.is_floating_point():
        return torch.zeros((), dtype=torch.int64, device=labels.device)
    return (logits.argmax(1) == labels).sum()


class Learner:
    """A model and all that changes its weights; `total` is the number of updates that the recipe plans."""

    def __init__(
        self,
        model: Any,
        training: Training,
        *,
        class_counts: Sequence[int],
        total: int,
        device: Any,
        augment: Augment = NO_AUGMENTATION,
    ) -> None:
        """Raises JobInputError for settings that do not fit the model, the data or the device."""
        self.model = model
        self.augmentation = Augmentation(augment)
        self.precision: Precision = choose_precision(training, device)
        self.stopping = EarlyStopping(training) if training.patience else None
        self._training = training
        self._total = total
        self._frozen = freeze_parameters(model, training.freeze)
        self._optimizer = make_optimizer(model, training)
        self._trainable = [one for one in model.parameters() if one.requires_grad]
        self._loss: Loss = make_loss(training, class_counts, device)
        self._forward_context: ForwardContext = forward_context(self.precision, device)
        self._average = AveragedWeights(model, training.ema_decay) if training.ema_decay else None

    def learning_rate(self, update: int) -> float:
        return learning_rate(self._training, update, self._total)

    def begin_epoch(self) -> None:
        """Set the modes of training."""
        self.model.train()
        for module in self._frozen:
            module.eval()

    def update(
        self, examples: Examples, rows: Tensor, number: int, sums: Sums, draws: Tensor | None = None
    ) -> float:
        """Update the weights from `rows`, int64 indices into `examples`, and add to `sums`; `number` counts from 0.

        `draws` are the augmentation's, one row for each of `rows`. Returns the seconds that batches took.
        """
        data_seconds = 0.0
        if draws is None:
            draws = torch.empty(len(rows), 0, device=rows.device)
        rate = self.learning_rate(number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        size = self._training.batch_size
        for part, drawn in zip(rows.split(size), draws.split(size), strict=True):
            asked = time.monotonic()
            images = self.augmentation.pixels(examples.images.index_select(0, part), drawn)
            labels = examples.labels.index_select(0, part)
            data_seconds += time.monotonic() - asked
            with self._forward_context():
                logits = self.model(images)
            if logits.dtype is torch.bfloat16:
                logits = logits.float()
            loss = self._loss(logits, labels)
            (loss if len(part) == len(rows) else loss * (len(part) / len(rows))).backward()
            sums.loss.add_(loss.detach(), alpha=len(part))
            sums.correct.add_(count_correct(logits, labels))
        if self._training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trainable, self._training.clip_norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return data_seconds

    @contextmanager
    def exportable(self) -> Iterator[None]:
        """Within, the model has the weights that would be exported if this epoch were the best."""
        if self._average is None:
            yield
        else:
            with self._average.applied():
                yield

    def end_epoch(self, record: EpochRecord) -> None:
        """Judge the epoch's weights. To be called within `exportable`."""
        if self.stopping is not None:
            self.stopping.watch(record, self.model)

    def is_over(self, epoch: int) -> bool:
        """Whether training has ended early, with `epoch` epochs finished."""
        return self.stopping is not None and self.stopping.is_over(epoch)

    def finish(self) -> int | None:
        """Leave the model with the weights to export. Returns their epoch if early stopping chose it."""
        if self.stopping is not None:
            self.stopping.apply(self.model)
            return self.stopping.best_epoch
        if self._average is not None:
            self._average.apply()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "stopping": self.stopping.state_dict() if self.stopping else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if self.stopping is not None:
            self.stopping.load_state_dict(state["stopping"])
