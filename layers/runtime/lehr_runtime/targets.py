"""What a shard's `y` says of its rows, whatever the task: a label each, or one for every pixel."""

from __future__ import annotations

import numpy as np


def count_labels(y: np.ndarray, labels: int) -> list[int]:
    """How many of `y`, uint8 of any shape, are of each label; pixels that count nowhere are left out."""
    counts: list[int] = np.bincount(y.reshape(-1), minlength=labels)[:labels].tolist()
    return counts


def row_labels(y: np.ndarray) -> np.ndarray:
    """int64 [rows]: one label to show each row under, -1 for none.

    Of an image with a label for every pixel it is the commonest, but for the one that is commonest everywhere, which
    says the least, if there is another.
    """
    if y.ndim == 1:
        return y.astype(np.int64)
    labels = 256
    counts = np.stack([np.bincount(row.reshape(-1), minlength=labels) for row in y])[:, : labels - 1]
    least = int(counts.sum(axis=0).argmax())
    others = counts.copy()
    others[:, least] = 0
    found = np.where(others.any(axis=1), others.argmax(axis=1), least)
    return np.where(counts.any(axis=1), found, -1)
