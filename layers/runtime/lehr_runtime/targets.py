"""What a shard's `y` says of its rows, whatever the task: a label each, one for every pixel, or boxes."""

from __future__ import annotations

import numpy as np


def count_labels(y: np.ndarray, labels: int) -> list[int]:
    """How many of `y`, uint8 of any shape or boxes, are of each label; pixels that count nowhere are left out."""
    if y.dtype == np.float32:
        given = y[..., 0][y[..., 0] >= 0]
        return np.bincount(given.astype(np.int64), minlength=labels).tolist()  # type: ignore[no-any-return]
    counts: list[int] = np.bincount(y.reshape(-1), minlength=labels)[:labels].tolist()
    return counts


def row_labels(y: np.ndarray) -> np.ndarray:
    """int64 [rows]: one label to show each row under, -1 for none.

    Of an image with a label for every pixel it is the commonest, but for the one that is commonest everywhere, which
    says the least, if there is another; of an image with boxes it is the first one's.
    """
    if y.ndim == 1:
        return y.astype(np.int64)
    if y.dtype == np.float32:
        return y[:, 0, 0].astype(np.int64)
    labels = 256
    counts = np.stack([np.bincount(row.reshape(-1), minlength=labels) for row in y])[:, : labels - 1]
    least = int(counts.sum(axis=0).argmax())
    others = counts.copy()
    others[:, least] = 0
    found = np.where(others.any(axis=1), others.argmax(axis=1), least)
    return np.where(counts.any(axis=1), found, -1)
