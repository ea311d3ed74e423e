"""Golden rows: a few real inputs with the probabilities that the trained graph gave them, as `golden.safetensors`.

They travel in the model package, so that every process that opens the graph, on whatever processor and by whatever
kernels, first shows that it computes the same function.
"""

from __future__ import annotations

import msgspec
import numpy as np

from lehr.errors import DataError, ModelPackageError
from lehr_runtime.predictor import Predictor
from lehr_runtime.shards import read_shard, write_shard
from lehr_runtime.tables import Inputs, from_tensors, to_tensors

MAX_GOLDEN_ROWS = 8
MAX_GOLDEN_BYTES = 8 << 20
# Kernels of different processors add up in different orders: about 1e-6 apart in float32. Weights laid out for another
# processor, or a wrong fusion, are apart by far more than this.
TOLERANCE = 1e-4
# A difference of 1e-6 in front of a rounding to eight bits may become one of a whole step.
INT8_TOLERANCE = 2e-2
# A process that opens the graph checks as many rows as these bytes hold, and one at least: a row of a ResNet takes as
# long as all else of opening it, and weights laid out for another processor are wrong in every row.
CHECKED_BYTES = 64 << 10


class Golden(msgspec.Struct, frozen=True):
    """`x`, raw inputs [n, *shape] or a table of n rows, and `y`, float32 probabilities [n, labels] or values [n, 1]."""

    x: Inputs
    y: np.ndarray


def write_golden(golden: Golden) -> bytes:
    return write_shard(to_tensors(golden.x) | {"y": golden.y})


def read_golden(raw: bytes, *, place: str) -> Golden:
    """Raises ModelPackageError for what are no golden rows."""
    try:
        tensors = read_shard(raw, place=place)
        y = tensors.get("y")
        x = from_tensors(tensors, place=place)
    except DataError as fault:
        raise ModelPackageError(str(fault)) from fault
    if y is None or y.dtype != np.float32 or not x.ndim or len(x) != len(y) or not len(x):
        raise ModelPackageError(f"{place}: not rows x with float32 probabilities y")
    return Golden(x, y)


def check_golden(predictor: Predictor, golden: Golden, *, place: str, tolerance: float = TOLERANCE) -> float:
    """The largest difference from the first golden probabilities. Raises ModelPackageError over `tolerance`."""
    rows = max(1, CHECKED_BYTES // max(1, golden.x[:1].nbytes))
    golden = Golden(golden.x[:rows], golden.y[:rows])
    try:
        found = predictor.predict(golden.x)
    except ValueError as fault:
        raise ModelPackageError(f"{place}: golden rows: {fault}") from fault
    if found.shape != golden.y.shape:
        raise ModelPackageError(
            f"{place}: golden rows have probabilities of {golden.y.shape}, not {found.shape}"
        )
    difference = float(np.abs(found - golden.y).max())
    # Values, unlike probabilities, may be far from 1.
    if not difference <= tolerance * max(1.0, float(np.abs(golden.y).max())):
        raise ModelPackageError(
            f"{place}: differs by {difference:.2e} from its golden rows, more than {tolerance:.0e}"
        )
    return difference
