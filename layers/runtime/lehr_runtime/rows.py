"""CSV rows to arrays: numbers between commas, one row to a line, no header and no quotes."""

from __future__ import annotations

import math
import re

import numpy as np

from lehr.errors import MalformedDataError

FLOAT32_MAX = float(np.finfo(np.float32).max)
_PIXEL = re.compile(r"\s*\d{1,3}\s*", re.ASCII)
_SAMPLE = re.compile(r"\s*-?\d{1,5}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\s*", re.ASCII)
_MAX_DIGITS = 64


def decode_rows(text: str, shape: list[int], dtype: str, *, max_rows: int) -> np.ndarray:
    """The rows as uint8, int16 or float32 [n, *shape], 1 <= n <= `max_rows`.

    A row holds all of `shape`, last axis fastest.

    Raises MalformedDataError whose place is the row, as `rows[3]`, or the number, as `rows[3][17]`.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if not 1 <= len(lines) <= max_rows:
        raise MalformedDataError(f"{len(lines)} rows, not 1 to {max_rows}", place="rows")
    size = math.prod(shape)
    array = np.empty([len(lines), size], dtype=dtype)
    for index, line in enumerate(lines):
        count = line.count(",") + 1
        if count != size:
            raise MalformedDataError(f"{count} values, not {size}", place=f"rows[{index}]")
        for column, value in enumerate(line.removesuffix("\r").split(",")):
            array[index, column] = _number(value, dtype, index, column)
    return array.reshape([len(lines), *shape])


def _number(text: str, dtype: str, row: int, column: int) -> float:
    if dtype == "uint8":
        if _PIXEL.fullmatch(text) and int(text) <= 255:
            return int(text)
        raise MalformedDataError("not an integer from 0 to 255", place=f"rows[{row}][{column}]")
    if dtype == "int16":
        if _SAMPLE.fullmatch(text) and -32_768 <= int(text) <= 32_767:
            return int(text)
        raise MalformedDataError("not an integer from -32768 to 32767", place=f"rows[{row}][{column}]")
    if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text) and abs(float(text)) <= FLOAT32_MAX:
        return float(text)
    raise MalformedDataError("not a number within float32", place=f"rows[{row}][{column}]")
