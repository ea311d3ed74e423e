"""Shards become two tensors that stay on the device: uint8 pixels or int16 samples, and int64 labels or uint8 masks.

Pixels and masks are converted batch by batch, which moves a quarter of the bytes that resident float32 would and needs
no loader processes. What does not fit there is streamed from the shards, see `streaming`. The order of an epoch is a
function of (seed, epoch) alone, so that a resumed run needs two integers to be where it was, on any device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lehr.contracts.file_units import IGNORED
from lehr_runtime.detection import BOX_VALUES
from lehr_runtime.shards import open_shard
from lehr_trainer.errors import JobInputError
from lehr_trainer.streaming import StreamedExamples, as_targets, fits

Tensor = Any
Residency = Literal["auto", "device", "streamed"]
_EPOCHS_PER_SEED = 1_000_003


@dataclass(frozen=True)
class Examples:
    """`images` uint8 [rows, height, width], of sound int16 [rows, samples], and `labels` int64 [rows], on one device.

    Where pixels have labels, `labels` is uint8 [rows, height, width], and int64 in a batch; IGNORED ones count nowhere.
    Where boxes are found, `labels` are float32 [rows, boxes, 5]. Of a table: see `lehr_trainer.tables`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def index_device(self) -> Any:
        """Where indices of rows are to be: with the rows."""
        return self.labels.device

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of `rows`, int64 indices on `index_device`, in their order."""
        return self.images.index_select(0, rows), as_targets(self.labels.index_select(0, rows))

    def read_ahead(self, batches: Iterable[Tensor]) -> None:
        """Nothing is to be read ahead of what is here."""

    def span(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Images and labels of the rows from `first` to `last`, that one not included, or to the end."""
        return self.images[first:last], as_targets(self.labels[first:last])


AnyExamples = Examples | StreamedExamples


def load_examples(
    shards: Sequence[Path],
    *,
    input_shape: Sequence[int],
    classes: int,
    device: Any,
    residency: Residency = "auto",
    processes: int = 1,
    has_masks: bool = False,
    dtype: str = "uint8",
    max_boxes: int = 0,
) -> AnyExamples:
    """Open `shards` in their order, on `device` where their images fit ("auto") or where `residency` says.

    `dtype` is that of their rows. Each of the host's `processes` opens them. With `has_masks` every pixel has a label,
    with `max_boxes` every image up to so many boxes.
    Raises JobInputError for rows that the manifest does not describe.
    """
    target_shape = tuple(input_shape[:2]) if has_masks else (max_boxes, BOX_VALUES) if max_boxes else ()
    labels = [np.empty((0, *target_shape), np.float32 if max_boxes else np.uint8)]
    images = [np.empty((0, *input_shape), dtype)]
    for path in shards:
        arrays = open_shard(path)
        x, y = arrays["x"], arrays["y"]
        if x.dtype != np.dtype(dtype) or x.shape != (len(y), *input_shape):
            raise JobInputError(
                f"holds {x.dtype} {list(x.shape)} for {len(y)} labels; the manifest says {dtype} {list(input_shape)}",
                place=path.name,
            )
        if y.shape[1:] != target_shape or y.dtype != labels[0].dtype:
            raise JobInputError(
                f"holds labels {y.dtype} {list(y.shape)}, which are none of its rows", place=path.name
            )
        given = y[..., 0] if max_boxes else y
        highest = int(given.max(where=given != IGNORED, initial=0) if has_masks else given.max(initial=0))
        if highest >= classes:
            raise JobInputError(f"has label {highest} of {classes} classes", place=path.name)
        images.append(x)
        labels.append(y)
    joined = np.concatenate(labels)
    is_kept = has_masks or max_boxes
    targets = torch.from_numpy(joined if is_kept else joined.astype(np.int64)).to(device)
    images_bytes = sum(x.nbytes for x in images) + (joined.nbytes if is_kept else 0)
    is_too_large = residency == "auto" and not fits(images_bytes, device, processes=processes)
    if residency == "streamed" or is_too_large:
        return StreamedExamples(images, targets)
    return Examples(torch.from_numpy(np.concatenate(images)).to(device), targets)


def epoch_order(rows: int, *, seed: int, epoch: int) -> Tensor:
    """A permutation of `rows`, int64 on the CPU; `epoch` counts from 0."""
    generator = torch.Generator().manual_seed((seed * _EPOCHS_PER_SEED + epoch) % 2**63)
    return torch.randperm(rows, generator=generator)
