"""One example as it goes into a shard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lehr.errors import MalformedDataError, MismatchedDataError

# What an example is refused for.
Fault = MalformedDataError | MismatchedDataError


@dataclass(frozen=True)
class Decoded:
    """`x` of the unit's shape, and `y` as it stands in a shard."""

    x: np.ndarray
    y: np.ndarray


def bare(fault: Fault) -> Fault:
    """The fault without its traceback, whose frames would keep the file and its pixels in memory as long as it is."""
    return type(fault)(fault.message, place=fault.place, hint=fault.hint)
