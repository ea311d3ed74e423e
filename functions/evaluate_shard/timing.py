"""How long one row takes, of candidate and champion in turn, as the endpoint would answer it."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from lehr.contracts.comparison import ModelTiming
from lehr_runtime.packages import LoadedModel
from lehr_runtime.tables import Inputs

# A 99th percentile needs a hundred; a slow model ends the shard's turn after seconds.
MAX_PREDICTIONS = 200
MAX_SECONDS = 2.0
WARM_UP = 5


def time_models(models: Sequence[LoadedModel], x: Inputs) -> list[ModelTiming]:
    """Milliseconds of each of `models` for single rows of `x`, one row after the other through all of them.

    So whatever slows the machine down meanwhile slows all of them, and who comes first changes from row to row. The
    sessions are those of the endpoint: batches of one, the threads of the function's memory, checks of the output
    included.
    """
    milliseconds: list[list[float]] = [[] for _ in models]
    for row in range(min(WARM_UP, len(x))):
        for model in models:
            model.predictor.predict(x[row : row + 1])
    end = perf_counter() + MAX_SECONDS
    for turn in range(MAX_PREDICTIONS):
        row = turn % len(x)
        one = x[row : row + 1]
        for place in range(len(models)) if turn % 2 else reversed(range(len(models))):
            begin = perf_counter()
            models[place].predictor.predict(one)
            milliseconds[place].append(round((perf_counter() - begin) * 1e3, 4))
        if perf_counter() > end:
            break
    return [
        ModelTiming(
            milliseconds=taken, package_bytes=sum(file.bytes for file in model.package.files.values())
        )
        for model, taken in zip(models, milliseconds, strict=True)
    ]
