"""Several processes, one training: what they share out, and what they agree on.

Every process has all rows and, unless it is cut up (`sharding.py`), a copy of the model. The order of an epoch and the
cut into batches are those of one process; of each batch the process of rank r takes the rows r, r + n, r + 2n, …
Gradients are averaged over the processes, which weighs them alike: a loss is scaled by the share of the batch's rows
that it is the mean of, so that the average is the gradient of the whole batch's mean, the last and uneven one's too.

DistributedDataParallel is told to look for unused parameters, since only then it keeps the buckets in which it adds
gradients up as they were in the first step. It would otherwise lay them out again after it, and a resumed run would add
up in another order.

One process has none of this: `Group()` gives back what it gets.
"""

from __future__ import annotations

import datetime
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lehr_trainer.ranks import Ranks

Tensor = Any
Module = Any
# A process that waits longer for another gives up; rank 0 may be writing a checkpoint meanwhile.
WAIT = datetime.timedelta(minutes=10)
# How often the processes ask one another whether to stop: a fraction of the second that a stop may take.
AGREE_EVERY_S = 0.2
_MOST_STEPS = 1000


@dataclass(frozen=True)
class Share:
    """A process' rows of a batch, and the augmentation's draws for them.

    `weight` is what the mean over them counts in the average over the processes. `count` is 0 where a batch has fewer
    rows than there are processes: `rows` is then a row of another process, which keeps the processes in step and
    has the weight 0.
    """

    rows: Tensor
    draws: Tensor
    count: int
    weight: float = 1.0


@dataclass(frozen=True)
class Group:
    """The processes of a training. `control` talks between their hosts, whatever the gradients go over."""

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes: checkpoints, log, model."""
        return self.rank == 0

    def share(self, rows: Tensor, draws: Tensor) -> Share:
        """This process' part of a batch."""
        if self.size == 1:
            return Share(rows, draws, len(rows))
        own = slice(self.rank, None, self.size)
        count = len(rows[own])
        if not count:
            return Share(rows[:1], draws[:1], 0, 0.0)
        return Share(rows[own], draws[own], count, count * self.size / len(rows))

    def replicate(self, model: Module) -> Module:
        """`model`, sharing its tensors, with gradients that are averaged over the processes, from rank 0's weights."""
        if self.size == 1:
            return model
        # Said once, of a model that uses all its parameters; see above why it is looked for all the same.
        warnings.filterwarnings("ignore", "find_unused_parameters=True was specified", UserWarning)
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Sums over the processes, in float64: counts stay exact."""
        return self._reduced(dist.ReduceOp.SUM, numbers)

    def largest(self, *numbers: float) -> tuple[float, ...]:
        return self._reduced(dist.ReduceOp.MAX, numbers)

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in the order of the ranks, on rank 0; elsewhere an empty list."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(value, values, group=self.control)
        return values or []

    def of_first(self, value: Any) -> Any:
        """What rank 0 has, in all processes."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, group=self.control)
        return values[0]

    def _reduced(self, operation: Any, numbers: tuple[float, ...]) -> tuple[float, ...]:
        if self.size == 1:
            return numbers
        reduced = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(reduced, operation, group=self.control)
        return tuple(reduced.tolist())


class Agreement:
    """Of wishes whether any process has them: the same answer at the same step in all.

    One process hears itself at every step. Several ask one another about every AGREE_EVERY_S, and in between
    hear nothing: the number of steps is derived from the slowest process' seconds, so that all derive the same.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._steps = self._left = 1
        self._asked = time.monotonic()

    def __call__(self, *wishes: bool) -> tuple[bool, ...]:
        if self._group.size == 1:
            return wishes
        self._left -= 1
        if self._left:
            return (False,) * len(wishes)
        now = time.monotonic()
        *agreed, seconds = self._group.largest(*wishes, (now - self._asked) / self._steps)
        self._steps = self._left = max(1, min(_MOST_STEPS, int(AGREE_EVERY_S / max(seconds, 1e-6))))
        self._asked = time.monotonic()
        return tuple(map(bool, agreed))


def isolate_gpu(ranks: Ranks) -> None:
    """Let a launched process see the GPU of its local rank alone. Must precede the first use of CUDA."""
    if not ranks.is_launched:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in visible.split(",") if name] or [str(n) for n in range(ranks.processes_per_node)]
    if ranks.local_rank < len(names):
        os.environ["CUDA_VISIBLE_DEVICES"] = names[ranks.local_rank]


@contextmanager
def joined(ranks: Ranks, device: Any) -> Iterator[Group]:
    """The group of a launched process. It is left in peace only: after a failure the others may never answer."""
    if ranks.world_size == 1:
        yield Group()
        return
    is_cuda = device.type == "cuda"
    dist.init_process_group(
        "nccl" if is_cuda else "gloo",
        rank=ranks.rank,
        world_size=ranks.world_size,
        timeout=WAIT,
        device_id=torch.device("cuda", 0) if is_cuda else None,
    )
    yield Group(ranks.rank, ranks.world_size, dist.new_group(backend="gloo", timeout=WAIT))
    dist.destroy_process_group()


def reducing(trained: Module, *, is_last: bool) -> AbstractContextManager[Any]:
    """Around the forward and backward pass of one part of an update: replicas exchange gradients in the last alone."""
    if is_last or not isinstance(trained, nn.parallel.DistributedDataParallel):
        return nullcontext()
    context: AbstractContextManager[Any] = trained.no_sync()
    return context


def is_loss_of_a_process(fault: BaseException) -> bool:
    """Whether an error says that another process of the group has gone."""
    return isinstance(fault, dist.DistError) or (
        isinstance(fault, RuntimeError)
        and ("gloo" in str(fault) or "Connection closed by peer" in str(fault))
    )
