"""Rows that stay in their memory-mapped shards, for data that does not fit where training computes.

The order of an epoch is known before it begins, so one thread gathers the batches to come while a step runs: two are
ready at most. For a GPU it gathers into page-locked memory and copies on a stream of its own, and a step waits on the
device for its batch, not on the host. A batch has the bytes that it would have from resident data, so neither the
weights nor a resumed run depend on where the data lay.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tensor = Any
READY = 2
RESIDENT_SHARE = 0.5
_MEMORY = Path("/proc/meminfo")
_CGROUP_LIMIT, _CGROUP_USED = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))


class StreamedExamples:
    """Images as one part or more, each uint8 or int16 [rows, ...], on the host; labels, int64 [rows], or masks, on the
    device.

    Rows are asked for by indices on the host, `index_device`, so that no comparison and no gather waits for a GPU.
    """

    index_device = torch.device("cpu")

    def __init__(self, images: Sequence[np.ndarray], labels: Tensor) -> None:
        self._row_shape = images[0].shape[1:]
        self._dtype = torch.from_numpy(np.empty(0, images[0].dtype)).dtype
        self._shards = [part for part in images if len(part)]
        self._starts = np.cumsum([0, *(len(part) for part in self._shards)])
        self.labels = labels
        self._device = labels.device
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._ahead: deque[tuple[Tensor, Future[tuple[Tensor, Any]]]] = deque()
        self._coming: Iterator[Tensor] = iter(())

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def read_ahead(self, batches: Iterable[Tensor]) -> None:
        """Say which rows `batch` will be asked for next, in order. What was said before is forgotten."""
        self._forget()
        self._coming = iter(batches)
        self._fill()

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of `rows`, int64 indices, in their order; at once if they are those that were announced."""
        if self._ahead and torch.equal(self._ahead[0][0], rows):
            images, copied = self._ahead.popleft()[1].result()
            self._fill()
        else:
            self._forget()
            images, copied = self._gather(rows)
        if copied is not None:
            torch.cuda.current_stream(self._device).wait_event(copied)
            images.record_stream(torch.cuda.current_stream(self._device))
        return images, as_targets(self.labels.index_select(0, rows.to(self._device, non_blocking=True)))

    def span(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Images and labels of the rows from `first` to `last`, that one not included, or to the end."""
        return self.batch(torch.arange(first, min(last, len(self))))

    def _fill(self) -> None:
        while len(self._ahead) < READY and (rows := next(self._coming, None)) is not None:
            self._ahead.append((rows, self._worker.submit(self._gather, rows)))

    def _forget(self) -> None:
        self._coming = iter(())
        while self._ahead:
            self._ahead.pop()[1].cancel()

    def _gather(self, rows: Tensor) -> tuple[Tensor, Any]:
        """The images on the device, and the event after which they are there (None: they are)."""
        wanted = rows.numpy()
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        gathered = torch.empty(
            (len(wanted), *self._row_shape),
            dtype=self._dtype,
            pin_memory=self._stream is not None,
        )
        into = gathered.numpy()
        for shard in np.unique(owner):
            places = owner == shard
            into[places] = self._shards[shard].take(wanted[places] - self._starts[shard], axis=0)
        if self._stream is None:
            return gathered, None
        with torch.cuda.stream(self._stream):
            images = gathered.to(self._device, non_blocking=True)
            return images, self._stream.record_event()


def as_targets(labels: Tensor) -> Tensor:
    """Labels as a loss takes them: int64. Masks lie in an eighth of that."""
    return labels.long() if labels.dtype is torch.uint8 else labels


def fits(images_bytes: int, device: Any, *, processes: int = 1) -> bool:
    """Whether images of so many bytes may stay on `device`: they take at most half of what is free there.

    Of a host's memory, all its `processes` together take that half, since each has images of its own.
    """
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
    else:
        free = free_host_memory() // processes
    return images_bytes <= RESIDENT_SHARE * free


def free_host_memory() -> int:
    """Bytes: what the system has, or what the container's limit leaves if that is less. Without /proc, all there is."""
    if not _MEMORY.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
    free = int(lines["MemAvailable"].removesuffix("kB")) * 1024
    if _CGROUP_LIMIT.is_file() and (limit := _CGROUP_LIMIT.read_text().strip()) != "max":
        free = min(free, int(limit) - int(_CGROUP_USED.read_text()))
    return free
