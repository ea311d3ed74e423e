"""The cells of a block of plain text as a grid of positions, and whole columns of it as numbers or as codes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from functions.prepare_shard.digits import KEPT, PADDING, parse_numbers, words_of

# The code of a cell that is refused.
REFUSED = -1
_NEWLINE, _RETURN = 10, 13
_WORD = 8
# Cells of up to three words are compared as such; longer ones one at a time.
_MOST_WORDS = 3
_MIXERS = (np.uint64(1), np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
# Cells that mean different things, kept so that each is read once: forgotten when there are too many.
_MOST_KNOWN = 1 << 16

_Meaning = TypeVar("_Meaning", bound=float)


class Meanings(Generic[_Meaning]):
    """What cells mean, each read once by `read`; `refused` stands for one that it raises ValueError for."""

    def __init__(self, read: Callable[[str], _Meaning], refused: _Meaning) -> None:
        self._read, self._refused = read, refused
        self._known: dict[bytes, tuple[_Meaning, bool]] = {}

    def of(self, cell: bytes) -> tuple[_Meaning, bool]:
        """The meaning of a cell, and whether it is refused."""
        found = self._known.get(cell)
        if found is None:
            try:
                found = self._read(cell.decode()), False
            except ValueError:
                found = self._refused, True
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[cell] = found
        return found


@dataclass(frozen=True)
class CellGrid:
    """Rows with as many cells as there should be, by `rows`, their places in the block; `others` are the rest.

    `starts` and `ends`, int64 [rows, cells], are places in `buffer`, which has the block between paddings.
    """

    buffer: np.ndarray
    words: np.ndarray
    rows: np.ndarray
    others: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    row_starts: np.ndarray
    row_ends: np.ndarray

    @classmethod
    def of(cls, block: bytes, delimiter: str, width: int) -> CellGrid | None:
        """The grid of a block of whole lines; None for one in which separators may be something else."""
        if b'"' in block or b"\0" in block or not delimiter.isascii():
            return None
        has_returns = b"\r" in block
        if has_returns and block.count(b"\r") != block.count(b"\r\n"):
            return None
        if not block.isascii():
            try:
                block.decode()
            except UnicodeDecodeError:
                return None
        if not block.endswith(b"\n"):
            block += b"\n"
        buffer = np.zeros(PADDING + len(block) + _WORD, dtype=np.uint8)
        buffer[PADDING:-_WORD] = np.frombuffer(block, dtype=np.uint8)
        separators = np.flatnonzero((buffer == ord(delimiter)) | (buffer == _NEWLINE))
        lasts = np.flatnonzero(buffer[separators] == _NEWLINE)
        row_ends = separators[lasts]
        row_starts = np.concatenate(([PADDING], row_ends[:-1] + 1))
        if int((row_ends - row_starts).max()) > csv.field_size_limit():
            return None
        is_whole = np.diff(lasts, prepend=-1) == width
        rows = np.flatnonzero(is_whole)
        if len(rows) == len(lasts):
            ends = separators.reshape(-1, width)
        else:
            ends = separators[(lasts[rows] - width + 1)[:, None] + np.arange(width)]
        starts = np.empty_like(ends)
        starts[:, 0] = row_starts[rows]
        starts[:, 1:] = ends[:, :-1] + 1
        if has_returns:
            ends[:, -1] -= buffer[ends[:, -1] - 1] == _RETURN
        return cls(
            buffer, words_of(buffer), rows, np.flatnonzero(~is_whole), starts, ends, row_starts, row_ends
        )

    def row_text(self, row: int) -> str:
        """A row of the block as it stands there."""
        return self.buffer[self.row_starts[row] : self.row_ends[row]].tobytes().decode().removesuffix("\r")

    def numbers(self, columns: Sequence[int], known: Meanings[float]) -> tuple[np.ndarray, np.ndarray]:
        """float32 [rows, columns], and which cells are refused: boolean of the same shape."""
        shape = len(self.rows), len(columns)
        starts, ends = self.starts[:, columns].reshape(-1), self.ends[:, columns].reshape(-1)
        values, is_read = parse_numbers(self.buffer, self.words, starts, ends)
        is_refused = ~is_read
        if is_refused.any():
            others = np.flatnonzero(is_refused)
            found = [known.of(cell) for cell in self._cells(starts[others], ends[others])]
            values[others] = [value for value, _ in found]
            is_refused[others] = [is_bad for _, is_bad in found]
        return values.reshape(shape), is_refused.reshape(shape)

    def codes(self, column: int, known: Meanings[int]) -> np.ndarray:
        """int64 [rows] of a column: what each cell means, REFUSED for one that means nothing."""
        starts, ends = self.starts[:, column], self.ends[:, column]
        first, inverse = self._distinct(starts, ends)
        meanings = [known.of(cell)[0] for cell in self._cells(starts[first], ends[first])]
        found: np.ndarray = np.array(meanings, dtype=np.int64)[inverse]
        return found

    def _cells(self, starts: np.ndarray, ends: np.ndarray) -> list[bytes]:
        raw = self.buffer.tobytes() if len(starts) > _WORD else None
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        if raw is None:
            return [self.buffer[start:end].tobytes() for start, end in pairs]
        return [raw[start:end] for start, end in pairs]

    def _distinct(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The place of one of each different cell, and for every cell which of these it equals."""
        lengths = ends - starts
        longest = int(lengths.max()) if len(lengths) else 0
        if longest <= _MOST_WORDS * _WORD:
            words = [
                self._word(ends - part * _WORD, lengths - part * _WORD)
                for part in range(max(1, -(-longest // _WORD)))
            ]
            key = words[0]
            for word, mixer in zip(words[1:], _MIXERS[1:], strict=False):
                key = (key ^ (key >> np.uint64(31))) * mixer + word
            _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
            if len(words) == 1 or all(np.array_equal(word, word[first][inverse]) for word in words):
                return first, inverse
        places: dict[bytes, int] = {}
        cells = self._cells(starts, ends)
        inverse = np.array([places.setdefault(cell, len(places)) for cell in cells], dtype=np.int64)
        return np.unique(inverse, return_index=True)[1], inverse

    def _word(self, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The last eight bytes of each cell as a word, with zeros where it is shorter: no cell has a zero."""
        word: np.ndarray = self.words.take(ends - _WORD)
        word &= KEPT.take(np.minimum(np.maximum(lengths, 0), _WORD))
        return word
