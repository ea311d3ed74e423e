"""A cell of a table as a number. Apart, because the endpoint reads numbers too and wants no more imported for it."""

from __future__ import annotations

import math

FLOAT32_MAX = 3.4028234663852886e38


def read_number(text: str) -> float:
    """The number that a cell holds. Raises ValueError for what is none, or none that float32 holds."""
    value = float(text)
    if not math.isfinite(value) or abs(value) > FLOAT32_MAX or "_" in text:
        raise ValueError(text)
    return value
