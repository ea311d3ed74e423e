"""Which split a row belongs to: a function of what its cells mean, and of nothing else.

A row therefore stays where it is when data is added, whichever file or format it stands in, and equal rows are never on
both sides. Numbers count as the float32 that they are read as, texts by a digest; both are mixed into 64 bits, a column
after the other (`lehr_runtime.row_hashes`). The same bits tell later which rows are there twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lehr_runtime.row_hashes import mixed

_QUIET_NAN = np.uint32(0x7FC00000)


class RowHasher:
    """64 bits of each row, for rows that come block by block: `texts` grows with them."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self._texts, self._of_texts = texts, np.empty(0, dtype=np.uint64)
        self._of_labels = _text_hashes(labels) if labels else None

    def hashes(self, numbers: np.ndarray, codes: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """uint64 [rows] of the inputs, as in a Block, and the target."""
        if len(self._texts) > len(self._of_texts):
            new = _text_hashes(self._texts[len(self._of_texts) :])
            self._of_texts = np.concatenate((self._of_texts, new))
        state = np.zeros(len(targets), dtype=np.uint64)
        for column in _number_hashes(numbers.T):
            state = mixed(state, column)
        for column in codes.T:
            state = mixed(state, self._of_texts[column])
        if self._of_labels is None:
            return mixed(state, _number_hashes(targets))
        return mixed(state, self._of_labels[targets.astype(np.int64)])


def _text_hashes(texts: Sequence[str]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _number_hashes(numbers: np.ndarray) -> np.ndarray:
    """The bits of each float32. Zeros are one number, and so are all that are missing."""
    bits = np.ascontiguousarray(numbers + np.float32(0.0)).view(np.uint32)
    bits[np.isnan(numbers)] = _QUIET_NAN
    return bits.astype(np.uint64)


def choose_splits(hashes: np.ndarray, *, test_fraction: float, validation_fraction: float) -> np.ndarray:
    """The place of each row's split among train, validation and test: uint8 [rows]."""
    shares = hashes.astype(np.float64) / 2.0**64
    rest = (shares - test_fraction) / (1 - test_fraction)
    splits = (rest < validation_fraction).astype(np.uint8)
    splits[shares < test_fraction] = 2
    return splits
