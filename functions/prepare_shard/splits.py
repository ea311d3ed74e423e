"""Which split a row belongs to: a function of what its cells mean, and of nothing else.

A row therefore stays where it is when data is added, whichever file or format it stands in, and equal rows are never on
both sides. Numbers count as the float32 that they are read as, texts by a digest; both are mixed into 64 bits, a column
after the other, by the finaliser of splitmix64 (G. Steele et al., "Fast splittable pseudorandom number generators",
2014), for all rows at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_QUIET_NAN = np.uint32(0x7FC00000)


def text_hashes(texts: Sequence[str]) -> np.ndarray:
    """64 bits of each text: uint64 [texts]."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def number_hashes(numbers: np.ndarray) -> np.ndarray:
    """64 bits of each float32: uint64 of its shape. Zeros are one number, and so are all that are missing."""
    bits = (numbers + np.float32(0.0)).view(np.uint32)
    return np.where(np.isnan(numbers), _QUIET_NAN, bits).astype(np.uint64)


def row_hashes(columns: Sequence[np.ndarray]) -> np.ndarray:
    """64 bits of each row out of its cells': uint64 [rows]."""
    state = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        state = (state + _STEP) ^ column
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
    return state


def choose_splits(hashes: np.ndarray, *, test_fraction: float, validation_fraction: float) -> np.ndarray:
    """The place of each row's split among train, validation and test: uint8 [rows]."""
    shares = hashes.astype(np.float64) / 2.0**64
    rest = (shares - test_fraction) / (1 - test_fraction)
    splits = (rest < validation_fraction).astype(np.uint8)
    splits[shares < test_fraction] = 2
    return splits
