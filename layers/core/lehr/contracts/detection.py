"""Statistics of a model that finds boxes, on one test shard, and the report that they add up to."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.comparison import ComparedReport, ShardPart
from lehr.contracts.document import Part


class LabelDetections(Part, frozen=True, kw_only=True):
    """All boxes of one label: what was found, by image, and how many there are.

    `scores` are float32 and `matches` uint16, both little-endian: bit i of a match says that the box is a true one at
    the i-th of `lehr_runtime.detection.IOU_THRESHOLDS`. They are what an average precision cannot be had without:
    it is no sum over images, and merges by joining them. `images` has of each box that was found, and `truth_images` of
    each that is there, the place of its image, uint32: by them a resample of the images takes their boxes along.
    """

    truths: int
    scores: bytes
    matches: bytes
    images: bytes
    truth_images: bytes


class DetectionCounts(Part, frozen=True, kw_only=True):
    """By label, with the seconds that prediction took; at most 100 boxes of an image are in it."""

    rows: int
    labels: list[LabelDetections]
    seconds: float


class DrawnBox(Part, frozen=True, kw_only=True):
    """A box as it is drawn, in shares of the image's sides; `score` is None of one that is true."""

    label: str
    x: float
    y: float
    width: float
    height: float
    score: float | None = None


class DetectionExample(Part, frozen=True, kw_only=True):
    """One test image as a PNG file, with its boxes and the candidate's."""

    image: bytes
    truth: list[DrawnBox]
    found: list[DrawnBox]


class DetectionSlice(Part, frozen=True, kw_only=True):
    """A slice of the shard's images, of which there is at least one; `ids` are as those of the shard."""

    by: str
    value: str
    candidate: DetectionCounts
    champion: DetectionCounts | None = None
    ids: bytes


class ShardDetection(ShardPart, frozen=True, kw_only=True):
    """What one unit of evaluation writes of an object detection; the first unit has a few examples.

    `ids` are those of its images, little-endian uint64, see `lehr_runtime.bootstrap.row_ids`.
    """

    schema: Literal[1] = 1
    candidate: DetectionCounts
    champion: DetectionCounts | None = None
    ids: bytes
    slices: list[DetectionSlice] = field(default_factory=list)
    examples: list[DetectionExample] = field(default_factory=list)


class LabelPrecision(Part, frozen=True, kw_only=True):
    """Average precision of one label, None where the test has no box of it.

    `precision` is that at an IoU of 0.5, for a recall of 0, 0.01, … 1; empty where there is none.
    """

    label: str
    truths: int
    found: int
    ap50_95: float | None
    ap50: float | None
    precision: list[float]


class DetectionMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split; means are over the labels that have a box in it."""

    rows: int
    truths: int
    map50_95: float
    map50: float
    rows_per_second: float
    labels: list[LabelPrecision]


class DetectionReport(ComparedReport, frozen=True, kw_only=True):
    """`evaluation.json` of an object detection."""

    schema: Literal[1] = 1
    kind: Literal["detection"] = "detection"
    candidate: DetectionMetrics
    champion: DetectionMetrics | None = None
    examples: list[DetectionExample] = field(default_factory=list)
