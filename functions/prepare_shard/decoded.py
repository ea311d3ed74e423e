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
