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
