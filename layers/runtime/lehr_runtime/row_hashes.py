"""Which rows are the same: 64 bits of each row's content, the same in whatever unit, file or order it stands.

Two different rows among a hundred million share one with a probability of 0.03 %. The bits are mixed by the finaliser
of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), column by column, so that no row costs a call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from lehr_runtime.tables import Table

_BLOCK_ROWS = 4096
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def array_hashes(x: np.ndarray) -> np.ndarray:
    """uint64 [rows] of arrays of any type [rows, ...], by their bytes."""
    flat = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    padding = -flat.shape[1] % 8
    hashes = np.empty(len(x), dtype=np.uint64)
    for first in range(0, len(x), _BLOCK_ROWS):
        block = np.pad(flat[first : first + _BLOCK_ROWS], ((0, 0), (0, padding)))
        hashes[first : first + _BLOCK_ROWS] = _mixed(iter(block.view(np.uint64).T.copy()), len(block))
    return hashes


def table_hashes(table: Table, targets: np.ndarray) -> np.ndarray:
    """uint64 [rows] of rows with their targets: of the values that were read, however they were written."""
    texts: dict[str, int] = {}
    hashes = np.empty(len(table), dtype=np.uint64)
    for first in range(0, len(table), _BLOCK_ROWS):
        block, target = table[first : first + _BLOCK_ROWS], targets[first : first + _BLOCK_ROWS]
        hashes[first : first + _BLOCK_ROWS] = _mixed(_columns(block, target, texts), len(block))
    return hashes


def _columns(table: Table, targets: np.ndarray, texts: dict[str, int]) -> Iterator[np.ndarray]:
    for column in (*table.numbers.T, targets):
        numbers = column.astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan
        yield numbers.view(np.uint32).astype(np.uint64)
    for cells in table.categories.T:
        yield np.array([_text_hash(cell, texts) for cell in cells.tolist()], dtype=np.uint64)


def _text_hash(text: str, known: dict[str, int]) -> int:
    if text not in known:
        known[text] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return known[text]


def _mixed(columns: Iterator[np.ndarray], rows: int) -> np.ndarray:
    state = np.full(rows, _GOLDEN)
    for column in columns:
        state = (state ^ column) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state ^= state >> np.uint64(31)
    return state
