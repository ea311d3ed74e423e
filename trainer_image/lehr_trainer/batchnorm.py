"""Batch norms that see the rows of all processes while they train, as those of one process see the whole batch.

On a GPU it is torch's SyncBatchNorm, which has no kernels for the CPU; there it is the same computation in plain
operations. Afterwards a module is what it was, with what it has learned: both kinds share their tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lehr_trainer.parallel import Group

Tensor = Any
Module = Any


@contextmanager
def synchronised_batchnorm(model: Module, group: Group, device: Any) -> Iterator[None]:
    """Within, the batch norms of `model` are synchronised, if there is more than one process."""
    found = {
        name: module
        for name, module in model.named_modules()
        if name and isinstance(module, _BatchNorm) and group.size > 1
    }
    for name, module in found.items():
        synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        if device.type != "cuda":
            synchronised.__class__ = PlainSyncBatchNorm
        model.set_submodule(name, synchronised)
    try:
        yield
    finally:
        for name, module in found.items():
            model.set_submodule(name, module)


class PlainSyncBatchNorm(_BatchNorm):  # type: ignore[misc]
    """SyncBatchNorm in operations that every device has: [batch, channels, ...], statistics in float32."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.running_mean is None):
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        others = [dimension for dimension in range(x.dim()) if dimension != 1]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        values = x.float()
        # The mean first and then what deviates from it: squares of large means would swallow a small variance.
        sums = _AddedUp.apply(torch.cat([values.sum(others), values.new_tensor([x.numel() / x.shape[1]])]))
        count = float(sums[-1].detach())
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _AddedUp.apply(centred.square().sum(others)) / count
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        if self.training and self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), count)
        return normalised.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class _AddedUp(torch.autograd.Function):  # type: ignore[misc]
    """The sum of a tensor over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
