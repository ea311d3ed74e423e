"""The same seed gives the same bytes of weights, on the same kind of machine.

Three things decide beside the data: the random streams, the kernels and, since floating-point sums depend on how they
are cut, the number of threads, see `tuning`.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

# As many elements as torch gives one thread at least: internal::GRAIN_SIZE of ATen.
_GRAIN = 32_768


def make_deterministic() -> None:
    """Refuse kernels whose result depends on timing. Must precede the first use of CUDA."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling what torch.empty returns would hide no race of ours, and costs time in every step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within, this thread takes denormal numbers for zero; outside, much of Python relies on their being there.

    Moments of weights that are seldom used decay to denormal numbers, whose arithmetic is many times slower on a CPU.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Afterwards torch has as many threads as before, so that the next training of the process begins as this one did.

    How many there are decides the bits of initial weights that are sums, such as orthogonal ones.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def flush_in_pool() -> None:
    """Let the threads among which torch shares out its operations take denormal numbers for zero, for good.

    A thread has the mode of the one that starts it, and the pool starts with the first large operation: while a model
    is built in one process, within an earlier training in another, whose bits would differ.
    """
    with flushed_denormals():
        torch.zeros(torch.get_num_threads() * _GRAIN).add_(1)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, rank: int) -> None:
    """Streams of its own for each of several processes: dropout would otherwise drop the same in all."""
    if rank:
        digest = hashlib.sha256(f"{seed} {rank}".encode()).digest()
        seed_everything(int.from_bytes(digest[:6], "big"))


def capture_rng() -> dict[str, Any]:
    """The random streams as tensors and plain values, which torch.load takes with weights_only=True."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
    }


def restore_rng(state: Mapping[str, Any]) -> None:
    """The inverse of `capture_rng`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))


def weights_sha256(model: Any) -> str:
    """Hex digest over name, type, shape and bytes of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
