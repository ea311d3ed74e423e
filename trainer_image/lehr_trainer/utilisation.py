"""How much of the machine a training uses, measured around its epochs.

The measure is the machine's own: a product of two square float32 matrices, timed in this process with its threads
before the first step. Nothing here waits for a device within a step, and no random number is drawn.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lehr.contracts.training import EpochRecord, Utilisation
from lehr_trainer.determinism import capture_rng, restore_rng
from lehr_trainer.models import scale_pixels

Tensor = Any
CPU_SIDE, GPU_SIDE = 1024, 8192
_PRODUCTS = 5
_FORWARD_AND_BACKWARD = 3


@dataclass
class Meter:
    """What was measured so far; it travels in the checkpoint, so that a resumed run reports the whole of it."""

    gemm_flops_per_second: float = 0.0
    flops_per_sample: float | None = None
    data_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def count(self, model: Any, images: Tensor, log: Callable[[str], None]) -> None:
        """Count the model's operations, with one row of `images`, uint8."""
        self.flops_per_sample = flops_per_sample(model, images[:1], log)

    def start(self, device: Any) -> None:
        """Measure the machine, with the threads that the training has."""
        self.gemm_flops_per_second = gemm_flops_per_second(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def end_epoch(self, device: Any) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes(device))

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def report(self, records: Sequence[EpochRecord], *, processes: int = 1) -> Utilisation:
        """Over the epochs of `records`; shares are this process' of `processes`."""
        seconds = sum(record.seconds for record in records)
        rate = sum(record.samples_per_second * record.seconds for record in records) / seconds
        share = None
        if self.flops_per_sample is not None:
            share = rate / processes * self.flops_per_sample / self.gemm_flops_per_second
        return Utilisation(
            samples_per_second=rate,
            flops_per_sample=self.flops_per_sample,
            gemm_flops_per_second=self.gemm_flops_per_second,
            gemm_share=share,
            data_share=min(1.0, self.data_seconds / seconds),
            peak_memory_bytes=self.peak_memory_bytes,
        )


def gemm_flops_per_second(device: Any) -> float:
    """The best of `_PRODUCTS` products of square float32 matrices, after one that is not counted.

    The best, since whatever else the machine does can only slow one down, and would flatter the model.
    """
    side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
    matrix = torch.linspace(-1, 1, side * side, device=device).view(side, side)
    product = torch.empty_like(matrix)
    seconds = []
    for _ in range(1 + _PRODUCTS):
        _wait(device)
        started = time.perf_counter()
        torch.mm(matrix, matrix, out=product)
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return float(2 * side**3 / min(seconds[1:]))


def flops_per_sample(model: Any, images: Tensor, log: Callable[[str], None]) -> float | None:
    """Three times the forward pass of one row: a multiplication and an addition are two operations.

    Counted are products of matrices and convolutions, as torch's counter does; None if it finds none. The
    module's state and the random streams stay as they are.
    """
    was_training, streams = model.training, capture_rng()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(scale_pixels(images))
        return _FORWARD_AND_BACKWARD * counter.get_total_flops() / len(images) or None
    except Exception as fault:
        # Whatever a project's module does not bear, its training does not fail by being measured.
        log(f"the model's operations cannot be counted: {fault}")
        return None
    finally:
        model.train(was_training)
        restore_rng(streams)


def peak_memory_bytes(device: Any) -> int:
    """The most that tensors took of the GPU, or the process of the host's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def utilisation_line(seen: Utilisation) -> str:
    """For a person, after the last epoch."""
    share = "" if seen.gemm_share is None else f"{seen.gemm_share:.1%} of "
    return (
        f"utilisation: {seen.samples_per_second:.0f} samples/s, {share}{seen.gemm_flops_per_second / 1e9:.0f} GFLOP/s "
        f"that a product of matrices reaches here, {seen.data_share:.1%} of the time for batches, "
        f"{seen.peak_memory_bytes / 1e6:.0f} MB at most"
    )


def _wait(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
