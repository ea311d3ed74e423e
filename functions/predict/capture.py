"""Sampled capture: a line of log for some predictions, with statistics of the inputs and what was answered.

Off unless CaptureRate is above 0. There is no network call: the runtime takes the line from stdout as it takes metrics.
Which requests are captured is decided by a hash of their id rather than by chance: copies of a snapshot wake with the
same state of a random generator and would all draw the same numbers, and by the id anybody can tell afterwards whether
a request was among them. The hash is salted, so that it has nothing to do with who is sent to a canary.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from functions.predict.serving import fraction
from lehr.clock import now
from lehr.contracts.capture import (
    HISTOGRAM_BINS,
    HISTOGRAM_EDGES,
    MIN_VALUES,
    CapturedFeatures,
    CapturedPrediction,
    InputStatistics,
    PredictionCapture,
)
from lehr.contracts.reference import CategoryReference, ModelReference, NumberReference
from lehr.json_log import JsonLog
from lehr_runtime.packages import LoadedModel
from lehr_runtime.row_numbers import row_numbers
from lehr_runtime.tables import Inputs, Table

MAX_PREDICTIONS = 100
# CloudWatch takes events of 256 KB, and counts 26 bytes of its own for each.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MAX_LINE_BYTES = 256 * 1024 - 1024
_SALT = "capture/"
# What a document grows by when it gets features, beyond their base64: names, shape and quotes, with room to spare.
_FEATURES_FRAME_BYTES = 512


class Capture:
    """Writes a share of `rate` of what it is shown; with `has_features` also the inputs themselves."""

    def __init__(self, rate: float, logger: JsonLog, *, has_features: bool = False) -> None:
        self._rate, self._logger, self._has_features = rate, logger, has_features

    def take(
        self,
        event: Mapping[str, Any],
        project: str,
        model: LoadedModel,
        batch: Inputs,
        probabilities: np.ndarray,
    ) -> None:
        """Write a line if this request is of the sample: inputs [n, …], probabilities [n, labels]. Raises nothing.

        Of a table, the numbers that are there are the inputs; of values there are no predictions to write.
        """
        try:
            request_id = str(event["requestContext"].get("requestId", ""))
            if self._rate >= 1 or fraction(_SALT + request_id) < self._rate:
                line = describe(
                    project, model, batch, probabilities, request_id, has_features=self._has_features
                )
                sys.stdout.write(line + "\n")
        except Exception:  # the prediction is there, and is the client's whatever becomes of its capture
            self._logger.exception("prediction not captured", extra={"project": project})


def describe(
    project: str,
    model: LoadedModel,
    batch: Inputs,
    probabilities: np.ndarray,
    request_id: str,
    *,
    has_features: bool,
) -> str:
    """A PredictionCapture as one line of at most MAX_LINE_BYTES: what has no room is left out, last rows first."""
    number_counts: list[list[int]] = []
    category_counts: list[list[int]] = []
    if model.reference is not None:
        number_counts, category_counts = count_columns(model.reference, batch)
    if isinstance(batch, Table):
        batch, has_features = batch.numbers, False
    kept = min(len(batch), MAX_PREDICTIONS) if model.signature.labels else 0
    labels, best = model.signature.labels, probabilities[:kept].argmax(axis=1).tolist()
    predictions = [
        CapturedPrediction(label=labels[label], probability=float(row[label]))
        for label, row in zip(best, probabilities, strict=False)
    ]
    inputs, at = summarise(batch), now()

    def encode(features: CapturedFeatures | None = None) -> bytes:
        return PredictionCapture(
            project=project,
            model_version=model.version,
            time=at,
            request_id=request_id,
            rows=len(batch),
            inputs=inputs,
            predictions=predictions,
            features=features,
            number_counts=number_counts,
            category_counts=category_counts,
        ).to_json()

    raw = encode()
    while len(raw) > MAX_LINE_BYTES and predictions:  # labels may be long
        predictions = predictions[: len(predictions) // 2]
        raw = encode()
    if has_features:
        room_bytes = (MAX_LINE_BYTES - len(raw) - _FEATURES_FRAME_BYTES) * 3 // 4
        if rows := min(len(batch), room_bytes // max(1, batch[0].nbytes)):
            raw = encode(_features(batch[:rows]))
    return raw.decode()


def summarise(batch: np.ndarray) -> InputStatistics:
    """Statistics of all values of [n, …], uint8, int16 or float32, of which NaN is left out: it is a missing number."""
    dtype = batch.dtype.name
    values = batch.reshape(-1)
    if dtype == "float32":
        values = values[~np.isnan(values)]
    if dtype == "uint8":
        counts = np.bincount(values, minlength=256)
        histogram = counts.reshape(HISTOGRAM_BINS, -1).sum(axis=1)
        zeros = int(counts[0])
    else:
        # As float32, so that 0.01 is at the edge that is called so.
        edges = np.array(HISTOGRAM_EDGES[dtype], dtype=batch.dtype)
        histogram = np.bincount(np.searchsorted(edges, values, side="right"), minlength=HISTOGRAM_BINS)
        zeros = values.size - int(np.count_nonzero(values))
    moments = {}
    if values.size >= MIN_VALUES:
        values = values.astype(np.float64)
        moments = {
            "mean": float(values.mean()),
            "std": float(values.std()),
            "min": float(values.min()),
            "max": float(values.max()),
        }
    return InputStatistics(
        dtype=dtype,
        count=int(values.size),
        zeros_share=zeros / values.size if values.size else 0.0,
        histogram=histogram.tolist(),
        **moments,
    )


def count_columns(reference: ModelReference, batch: Inputs) -> tuple[list[list[int]], list[list[int]]]:
    """Of each number and each category of a batch [n, …], the rows in each bin of its reference."""
    if isinstance(batch, Table):
        numbers, categories = batch.numbers, batch.categories
    elif batch.dtype == np.float32:
        numbers, categories = batch.reshape(len(batch), -1), np.empty((len(batch), 0), dtype=object)
    else:
        numbers, categories = row_numbers(batch)[:, np.newaxis], np.empty((len(batch), 0), dtype=object)
    columns = zip(reference.numbers, numbers.T, strict=False)
    texts = zip(reference.categories, categories.T, strict=False)
    return [_count_number(one, column) for one, column in columns], [
        _count_category(one, column.tolist()) for one, column in texts
    ]


def _count_number(reference: NumberReference, column: np.ndarray) -> list[int]:
    is_given = ~np.isnan(column)
    places = np.searchsorted(reference.edges, column[is_given].astype(np.float64), side="right")
    counts: list[int] = np.bincount(places, minlength=len(reference.edges) + 1).tolist()
    return [*counts, len(column) - int(is_given.sum())]


def _count_category(reference: CategoryReference, cells: list[str]) -> list[int]:
    known = {value: place for place, value in enumerate(reference.values)} | {"": len(reference.values) + 1}
    counts = [0] * (len(reference.values) + 2)
    for cell in cells:
        counts[known.get(cell, len(reference.values))] += 1
    return counts


def _features(batch: np.ndarray) -> CapturedFeatures:
    wire = np.ascontiguousarray(batch, dtype=batch.dtype.newbyteorder("<"))
    return CapturedFeatures(
        dtype=batch.dtype.name,
        shape=list(batch.shape),
        data=base64.b64encode(wire.tobytes()).decode("ascii"),
    )
