"""What one update of the weights is: learning rate, forward and backward passes, clipping, optimiser, average.

Nothing in an update waits for the device. With `accumulate_steps` an update's rows go through the model in parts of
`batch_size` (fewer where memory does not suffice, see `memory.py`), whose gradients add up, each by its share of the
rows, to that of the whole; a batch norm still sees one part at a time. An update is never cut by a checkpoint, so
gradients need not be kept.

Of several processes each has a learner of its own, which takes its share of the rows of every part (`parallel.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch

from lehr.contracts.file_units import IGNORED
from lehr.contracts.recipe_tables import Augment, Training
from lehr.contracts.training import EpochRecord
from lehr_trainer import sharding
from lehr_trainer.augment import Augmentation
from lehr_trainer.data import AnyExamples
from lehr_trainer.early_stopping import EarlyStopping
from lehr_trainer.ema import AveragedWeights
from lehr_trainer.freezing import freeze_parameters
from lehr_trainer.hooks import NO_HOOKS, ProjectHooks, ValidationMetrics, rate_shares
from lehr_trainer.losses import Loss, make_loss
from lehr_trainer.models import scale_pixels
from lehr_trainer.optim import make_optimizer
from lehr_trainer.parallel import Group, reducing
from lehr_trainer.precision import ForwardContext, Precision, choose_precision, forward_context
from lehr_trainer.schedules import learning_rate
from lehr_trainer.targets import kind_of
from lehr_trainer.tuning import CompileMode, Tuning, compiled

Tensor = Any
NO_AUGMENTATION = Augment()
ALONE = Group()


@dataclass
class Sums:
    """Over the rows of an epoch that this process has seen so far, on the device: the loss, float64, and right
    answers, int64; of masks also how many pixels counted, int64.
    """

    loss: Tensor
    correct: Tensor
    counted: Tensor

    @classmethod
    def zero(cls, device: Any) -> Sums:
        return cls(
            torch.zeros((), dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )


def updates_per_epoch(rows: int, training: Training) -> int:
    """How many times the weights change while every one of `rows` is seen once."""
    return -(-rows // (training.batch_size * training.accumulate_steps))


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many rows, or pixels, have their label; of values to predict and of boxes none."""
    if kind_of(labels) not in ("labels", "masks"):
        return torch.zeros((), dtype=torch.int64, device=labels.device)
    return (logits.argmax(1) == labels).sum()


class Learner:
    """A model and all that changes its weights; `total` is the number of updates that the recipe plans.

    `group` are the processes that train it together; each of them has to call the same methods in the same order.
    """

    def __init__(
        self,
        model: Any,
        training: Training,
        *,
        class_counts: Sequence[int],
        total: int,
        device: Any,
        augment: Augment = NO_AUGMENTATION,
        hooks: ProjectHooks = NO_HOOKS,
        group: Group = ALONE,
        keeps_best: bool = False,
    ) -> None:
        """With `keeps_best` there are held-out rows, and the best epoch is kept in case the training ends at its wall.

        Raises JobInputError for settings that do not fit the model, the data or the device, HookError.
        """
        self.model = model
        self.augmentation = Augmentation(augment)
        self.precision: Precision = choose_precision(training, device)
        self.stopping = EarlyStopping(training) if training.patience or keeps_best else None
        self.micro_batch_rows = training.batch_size
        self._training = training
        self._total = total
        self._group = group
        self._frozen = freeze_parameters(model, training.freeze)
        self.metrics = ValidationMetrics(hooks.metrics)
        self._augment = hooks.augment
        self._is_sharded = training.sharding == "fsdp"
        if self._is_sharded:
            sharding.shard(model)
        # What goes forward: the model, or a copy of it that exchanges gradients and shares its tensors.
        self._trained = model if self._is_sharded else group.replicate(model)
        self._optimizer = hooks.optimizer(model) if hooks.optimizer else make_optimizer(model, training)
        self._rate_shares = rate_shares(self._optimizer, training.learning_rate)
        self._trainable = [one for one in model.parameters() if one.requires_grad]
        self._loss: Loss = hooks.loss or make_loss(training, class_counts, device)
        self._forward_context: ForwardContext = forward_context(self.precision, device)
        self._average = AveragedWeights(model, training.ema_decay) if training.ema_decay else None
        self.tuning = Tuning(torch.get_num_threads())
        self._compiled = self._trained

    def run_as(self, tuning: Tuning) -> None:
        """Run steps with these threads, and compiled if so; without CUDA graphs where gradients add up."""
        if tuning.compile_mode == "reduce-overhead" and self.adds_up:
            tuning = replace(tuning, compile_mode="default")
        self.tuning = tuning
        torch.set_num_threads(tuning.threads)
        self._compiled = compiled(self._trained, tuning.compile_mode)

    def rehearsal(self, examples: AnyExamples, mode: CompileMode) -> Callable[[], None]:
        """A forward and backward pass of the first batch on a copy of the model, as `mode` of torch.compile has it."""
        copy = deepcopy(self.model).train()
        forward = compiled(copy, mode)
        images, labels = examples.span(0, self.micro_batch_rows)
        pixels = scale_pixels(images)

        def one_pass() -> None:
            copy.zero_grad()
            with self._forward_context():
                logits = forward(pixels)
            self._loss(logits.float(), labels).backward()

        return one_pass

    def own_batches(self, updates: Iterable[Tensor]) -> Iterator[Tensor]:
        """The rows of `updates` that go through this process' model, batch by batch."""
        for rows in updates:
            for part in rows.split(self.micro_batch_rows):
                yield self._group.share(part, part).rows

    def _number_of(self, part: int) -> int:
        """A number that no other part of the training has, in any process."""
        return part * self._group.size + self._group.rank

    @property
    def _most_parts(self) -> int:
        """Of an update."""
        return -(-self._training.batch_size * self._training.accumulate_steps // self.micro_batch_rows)

    @property
    def adds_up(self) -> bool:
        """Whether an update has several parts, whose gradients add up."""
        return self._most_parts > 1

    def learning_rate(self, update: int) -> float:
        return learning_rate(self._training, update, self._total)

    def begin_epoch(self) -> None:
        """Set the modes of training."""
        self._trained.train()
        for module in self._frozen:
            module.eval()

    def update(
        self, examples: AnyExamples, rows: Tensor, number: int, sums: Sums, draws: Tensor | None = None
    ) -> float:
        """Update the weights from `rows`, int64 indices into `examples`, and add to `sums`; `number` counts from 0.

        `draws` are the augmentation's, one row for each of `rows`. Returns the seconds that batches took.
        """
        data_seconds = 0.0
        if draws is None:
            draws = torch.empty(len(rows), 0, device=rows.device)
        rate = self.learning_rate(number)
        for group, share in zip(self._optimizer.param_groups, self._rate_shares, strict=True):
            group["lr"] = rate * share
        self._optimizer.zero_grad()
        size = self.micro_batch_rows
        parts = [(rows, draws)]
        if len(rows) > size:
            parts = list(zip(rows.split(size), draws.split(size), strict=True))
        for index, (part, drawn) in enumerate(parts):
            own = self._group.share(part, drawn)
            asked = time.monotonic()
            images, labels = examples.batch(own.rows)
            images = self.augmentation.pixels(images, own.draws)
            labels = self.augmentation.targets(labels, own.draws)
            if self._augment is not None:
                images = self._augment(images, self._number_of(number * self._most_parts + index))
            data_seconds += time.monotonic() - asked
            # Compiled is the step of a full batch; the last one of an epoch is not worth another compilation.
            forward = self._compiled if len(part) == size else self._trained
            with reducing(self._trained, is_last=index == len(parts) - 1):
                with self._forward_context():
                    logits = forward(images)
                if logits.dtype is torch.bfloat16:
                    logits = logits.float()
                loss = self._loss(logits, labels)
                weight = own.weight * (len(part) / len(rows))
                (loss if weight == 1.0 else loss * weight).backward()
            if not own.count:
                continue
            with torch.no_grad():
                sums.loss.add_(loss, alpha=own.count)
                sums.correct.add_(count_correct(logits, labels))
                if kind_of(labels) == "masks":
                    sums.counted.add_((labels != IGNORED).sum())
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

    def finish(self, *, at_wall: bool = False) -> int | None:
        """Leave the model with the weights to export. Returns their epoch if it was chosen, as the best."""
        if self.stopping is not None and (self.stopping.patience or at_wall):
            self.stopping.apply(self.model)
            return self.stopping.best_epoch
        if self._average is not None:
            self._average.apply()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values; of a model that is cut up whole ones, on rank 0 alone."""
        state = {
            "tuning": self.tuning.state(),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "stopping": self.stopping.state_dict() if self.stopping else None,
        }
        return sharding.whole(state, keep=self._group.is_first) if self._is_sharded else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run_as(Tuning(**state["tuning"]))
        if self._is_sharded:
            state = self._shards_of(state)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if self.stopping is not None:
            self.stopping.load_state_dict(state["stopping"])

    def unsharded(self, fresh: Callable[[], Any]) -> Any:
        """The model to export; of one that is cut up, a `fresh` one with the same weights on rank 0."""
        if not self._is_sharded:
            return self.model
        weights = sharding.whole(self.model.state_dict(), keep=self._group.is_first)
        if not self._group.is_first:
            return self.model
        model = fresh()
        model.load_state_dict(weights)
        return model

    def _shards_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        model = self.model.state_dict()
        parts = {
            "model": sharding.like(state["model"], model),
            "optimizer": sharding.optimizer_state(state["optimizer"], self._optimizer),
        }
        if self._average is not None:
            parts["average"] = sharding.like(state["average"], {"average": model})
        if self.stopping is not None:
            parts["stopping"] = sharding.like(state["stopping"], {"weights": model})
        return {**state, **parts}
