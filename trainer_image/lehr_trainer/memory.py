"""Out of memory: named, and tried once more with fewer rows at a time.

An update's rows go through the model in parts (`learner.py`). Where memory does not suffice for a part of
`batch_size` rows, the training goes on from its last checkpoint with parts of half as many: the rows of an update stay
the same, and so do its schedule and its meaning; a batch norm sees smaller parts. The new size is part of the
checkpoint, which is written before anything else, so that a run that is killed later goes on with it. Should that not
suffice either, the run fails and says so.

https://docs.pytorch.org/docs/stable/generated/torch.cuda.OutOfMemoryError.html; on a CPU, torch says it in the text of
a RuntimeError.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lehr_trainer.errors import TooLittleMemoryError

_SAYS_SO = re.compile(
    r"out of memory|can't allocate memory|std::bad_alloc|(CUBLAS|CUDNN|CUSOLVER)_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


@dataclass
class MicroBatch:
    """How many rows go through the model at once: as `planned`, until memory does not suffice."""

    planned: int
    rows: int
    is_training: bool = False

    @classmethod
    def of(cls, batch_size: int) -> MicroBatch:
        return cls(batch_size, batch_size)

    @property
    def is_reduced(self) -> bool:
        return self.rows < self.planned

    def restore(self, rows: int) -> None:
        """Take what a checkpoint says, unless less than that was found out since."""
        self.rows = min(self.rows, rows)

    def share_of(self, rows: int) -> int:
        """As many of `rows` as is the micro-batch of what was planned; one at least."""
        return max(1, rows * self.rows // self.planned)


def within_memory(
    attempt: Callable[[], object],
    micro_batch: MicroBatch,
    log: Callable[[str], None],
    *,
    may_retry: bool = True,
) -> None:
    """Call `attempt`, and once more with half the rows at a time if training runs out of memory and `may_retry`.

    One of several processes cannot try again alone. Raises TooLittleMemoryError.
    """
    told = _told(attempt)
    if told is None:
        return
    if may_retry and micro_batch.is_training and not micro_batch.is_reduced and micro_batch.rows > 1:
        micro_batch.rows = -(-micro_batch.rows // 2)
        micro_batch.is_training = False
        log(
            f"out of memory with {micro_batch.planned} rows at a time ({told}): goes on with {micro_batch.rows}; "
            "the rows of an update stay the same"
        )
        # What the failed attempt held is free once its frames are, which `_told` has let go.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        told = _told(attempt)
        if told is None:
            return
    if not micro_batch.is_training:
        raise TooLittleMemoryError(
            f"out of memory outside of the training itself: {told}",
            hint="take an instance with more memory, or a smaller dataset or model",
        )
    tried = (
        f"{micro_batch.planned}, and with {micro_batch.rows}," if micro_batch.is_reduced else micro_batch.rows
    )
    raise TooLittleMemoryError(
        f"out of memory with {tried} rows at a time: {told}",
        hint="lower batch_size and raise accumulate_steps by as much, or take an instance with more memory",
    )


def is_out_of_memory(fault: BaseException) -> bool:
    if isinstance(fault, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(fault, RuntimeError) and _SAYS_SO.search(str(fault)) is not None


def _told(attempt: Callable[[], object]) -> str | None:
    """What an attempt that ran out of memory says, in a line; None if it did not. No traceback outlives the call."""
    try:
        attempt()
    except (MemoryError, RuntimeError) as fault:
        if not is_out_of_memory(fault):
            raise
        return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)[
            :300
        ]
    return None
