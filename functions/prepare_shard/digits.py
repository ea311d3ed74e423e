"""Decimal numbers out of bytes, many at a time: eight digits in a 64-bit word, and all cells of a column in one array.

`float` makes a Python object of each cell; this takes no step per cell. The three multiplications are those of
D. Lemire, "Number parsing at a gigabyte per second" (https://arxiv.org/abs/2101.11408), section 6, here over arrays.

A number of up to 24 characters, `-` `digits` `.` `digits`, is read here if it is certain that float32 of it is
what float32 of `float(text)` would be. All else, as exponents, blanks and texts that mean a missing value, is left to
others.
"""

from __future__ import annotations

import numpy as np

# Bytes that must lie before the first cell, so that a word that ends in it can be read.
PADDING = 24
_LONGEST = 24
_WORD = 8
# Powers of ten that float64 holds exactly.
_EXACT_POWERS = 22
_TEN = np.array([10.0**power for power in range(_EXACT_POWERS + 1)])
# Five roundings of half a unit each, and the one of `float`, are at most 4 units of 2^-53: this is twice as much.
_DOUBT = 2.0**-50


def _each(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


_ZEROS, _POINTS, _ONES, _TOPS = _each(0x30), _each(0x2E), _each(0x01), _each(0x80)
_HIGH_HALVES, _SIXES = _each(0xF0), _each(0x06)
_PAIRS = np.uint64(0x000000FF000000FF)
_UPPER_WEIGHTS = np.uint64(100 + (1_000_000 << 32))
_LOWER_WEIGHTS = np.uint64(1 + (10_000 << 32))
# By the length of a cell: the bytes of a word that are its own, and zeros for those before it.
KEPT = np.array(
    [0xFFFFFFFFFFFFFFFF << 8 * (_WORD - length) & 0xFFFFFFFFFFFFFFFF for length in range(9)], np.uint64
)
_FILLED = _ZEROS & ~KEPT


def words_of(buffer: np.ndarray) -> np.ndarray:
    """Word i is bytes [i, i + 8) of uint8 [n], the first byte lowest: uint64 [n - 7], each at an address of its own."""
    words: np.ndarray = np.ndarray((len(buffer) - _WORD + 1,), dtype="<u8", buffer=buffer, strides=(1,))
    return words.astype(np.uint64)


def parse_numbers(
    buffer: np.ndarray, words: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """float32 of the cells [starts, ends) of uint8 `buffer`, and which of them were read: boolean.

    PADDING bytes lie before the first cell and one behind the last; `words` are words_of(buffer).
    """
    is_negative = buffer[starts] == ord("-")
    lengths = ends - starts - is_negative
    digits, fraction, points, is_read = _word(words, ends, lengths)
    is_read &= lengths > points
    values = digits.astype(np.float64)
    longest = int(lengths.max()) if len(lengths) else 0
    if longest > _WORD:
        long = np.flatnonzero(lengths > _WORD)
        parts = -(-min(longest, _LONGEST) // _WORD)
        values[long], is_certain = _long(
            words, ends[long], lengths[long], parts, values[long], fraction[long], points[long]
        )
        is_read[long] &= is_certain
        fraction[long] = 0
    if fraction.any():
        values /= _TEN[fraction]
    np.negative(values, out=values, where=is_negative)
    return values.astype(np.float32), is_read


def _long(
    words: np.ndarray,
    ends: np.ndarray,
    lengths: np.ndarray,
    parts: int,
    values: np.ndarray,
    fraction: np.ndarray,
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of several words, of which the last is read; those that rounding leaves in doubt are not certain."""
    is_certain = lengths <= _LONGEST
    places = _WORD - points
    for part in range(1, parts):
        digits, behind, has_point, is_right = _word(words, ends - part * _WORD, lengths - part * _WORD)
        is_certain &= is_right
        values += digits.astype(np.float64) * _TEN[places]
        fraction += (behind + places) * has_point
        points = points + has_point
        places += _WORD - has_point
    is_certain &= (points <= 1) & (fraction <= _EXACT_POWERS)
    values /= _TEN[np.minimum(fraction, _EXACT_POWERS)]
    is_certain &= (values * (1 - _DOUBT)).astype(np.float32) == (values * (1 + _DOUBT)).astype(np.float32)
    return values, is_certain


def _word(
    words: np.ndarray, ends: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the last eight characters of each cell: the digits as one number, how many of them are behind a point,
    how many points there are (0 or 1), and whether there is nothing else."""
    word = words.take(ends - _WORD)
    lengths = np.minimum(np.maximum(lengths, 0), _WORD)
    word &= KEPT.take(lengths)
    word |= _FILLED.take(lengths)
    points = word ^ _POINTS
    points = (points - _ONES) & ~points
    points &= _TOPS
    has_point = points != 0
    if has_point.any():
        lowest = points & (~points + np.uint64(1))
        fraction = 7 - (np.bitwise_count(lowest - np.uint64(1)).astype(np.int64) >> 3)
        fraction[~has_point] = 0
        below = (lowest >> np.uint64(7)) - np.uint64(1)
        above = ~(below | (lowest | (lowest - (lowest >> np.uint64(7)))))
        closed = (word & above) | ((word & below) << np.uint64(8)) | np.uint64(0x30)
        word = np.where(has_point, closed, word)
    else:
        fraction = np.zeros(len(ends), dtype=np.int64)
    is_right = ((word & _HIGH_HALVES) | (((word + _SIXES) & _HIGH_HALVES) >> np.uint64(4))) == _each(0x33)
    word -= _ZEROS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    word = (word & _PAIRS) * _UPPER_WEIGHTS + ((word >> np.uint64(16)) & _PAIRS) * _LOWER_WEIGHTS
    return word >> np.uint64(32), fraction, has_point.astype(np.int64), is_right
