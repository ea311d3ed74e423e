"""One captured prediction: a line of the predict function's log, from which drift can be computed later.

Histograms have fixed bins, so those of many requests add up: their sum against that of the training data gives the
population stability index (PSI) and, at the edges of the bins, the Kolmogorov-Smirnov statistic. Means and deviations
add up by their counts. Lines are told from others in the log by `kind`: `{ $.kind = "prediction" }` as a filter.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.document import Document, Part

HISTOGRAM_BINS = 16
# Fewer values than these have no mean, deviation, minimum or maximum: they would give the values away.
MIN_VALUES = 16
# The inner edges, by dtype: bin i counts edges[i - 1] <= x < edges[i], the first and the last are open. uint8
# and int16 in sixteen equal parts of their ranges; float32, whose range nobody uses, by powers of ten on both sides of
# zero, compared as float32.
HISTOGRAM_EDGES: dict[str, tuple[float, ...]] = {
    "uint8": tuple(float(edge) for edge in range(16, 256, 16)),
    "int16": tuple(float(edge) for edge in range(-28_672, 32_768, 4_096)),
    "float32": (
        *(-1000.0, -100.0, -10.0, -1.0, -0.1, -0.01, -0.001),
        0.0,
        *(0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
    ),
}


class InputStatistics(Part, frozen=True, kw_only=True):
    """All values of a request's inputs together, of no feature by itself; `std` divides by `count`.

    Mean, deviation and extremes are missing for fewer than MIN_VALUES values.
    """

    dtype: str
    count: int
    zeros_share: float
    histogram: list[int]
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None


class CapturedPrediction(Part, frozen=True, kw_only=True):
    """One row: the likeliest label and its probability."""

    label: str
    probability: float


class CapturedFeatures(Part, frozen=True, kw_only=True):
    """The first rows as the model got them: `data` is base64 of little-endian values of `dtype`, last axis fastest."""

    dtype: str
    shape: list[int]
    data: str


class PredictionCapture(Document, frozen=True, kw_only=True):
    """A request of `rows` rows; `predictions` and `features` are of the first of them, as far as a line has room.

    `time` is ISO 8601 in UTC, `request_id` is API Gateway's, as in its access log. `features` is there only for a
    stack with CaptureFeatures, the counts only for one with DriftCheck. Those are of each column by itself, in the bins
    of the model's reference: rows in each bin of a number, and at last those without it; rows with each value of a
    category, with another one, and without any.
    """

    kind: Literal["prediction"] = "prediction"
    schema: Literal[1] = 1
    project: str
    model_version: str
    time: str
    request_id: str
    rows: int
    inputs: InputStatistics
    predictions: list[CapturedPrediction]
    features: CapturedFeatures | None = None
    number_counts: list[list[int]] = field(default_factory=list)
    category_counts: list[list[int]] = field(default_factory=list)
