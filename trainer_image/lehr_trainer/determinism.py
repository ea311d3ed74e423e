"""The same seed gives the same bytes of weights, on the same kind of machine.

Three things decide beside the data: the random streams, the kernels and, since floating-point sums depend on how they
are cut, the number of threads. Small models run on one thread, which is also their fastest setting: on a
machine of two busy cores, two threads cost a 100,000-parameter model up to eleven times its speed.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lehr_trainer.errors import JobInputError

ONE_THREAD_BELOW_PARAMETERS = 1_000_000


def make_deterministic() -> None:
    """Refuse kernels whose result depends on timing. Must precede the first use of CUDA."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling what torch.empty returns would hide no race of ours, and costs time in every step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


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


def choose_threads(parameters: int, environ: Mapping[str, str], *, processes: int = 1) -> int:
    """LEHR_THREADS if set, else 1 for a small model, else every core, shared out to the host's processes.

    Raises JobInputError.
    """
    wish = environ.get("LEHR_THREADS", "")
    if wish:
        if not wish.isdecimal() or int(wish) < 1:
            raise JobInputError(f"LEHR_THREADS is {wish!r}", hint="it is a number of threads, 1 or more")
        return int(wish)
    return 1 if parameters < ONE_THREAD_BELOW_PARAMETERS else max(1, (os.cpu_count() or 1) // processes)


def weights_sha256(model: Any) -> str:
    """Hex digest over name, type, shape and bytes of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
