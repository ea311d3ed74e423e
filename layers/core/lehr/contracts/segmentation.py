"""Statistics of a model that labels pixels, on one test shard, and the report that they add up to."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.comparison import ComparedReport, ShardPart
from lehr.contracts.document import Part


class SegmentationCounts(Part, frozen=True, kw_only=True):
    """Sums over the pixels of `rows` images; those that count nowhere are left out. `confusion[true][predicted]`."""

    rows: int
    confusion: list[list[int]]
    seconds: float


class PairedImages(Part, frozen=True, kw_only=True):
    """Images by whose mean IoU on them is higher, for a sign test."""

    only_candidate: int
    only_champion: int
    equal: int


class SegmentationExample(Part, frozen=True, kw_only=True):
    """One test image with its mask and the candidate's, as PNG files."""

    image: bytes
    truth: bytes
    predicted: bytes


class RegionSums(Part, frozen=True, kw_only=True):
    """Pixels of a slice's images by label: those that have it and are given it, that have it, that are given it."""

    rows: int
    overlap: list[int]
    support: list[int]
    predicted: list[int]


class RegionAreas(Part, frozen=True, kw_only=True):
    """Of each of `rows` images the labels that it has or is given, with their pixels; little-endian, an entry for each.

    `images` are the images' places, uint32, `labels` uint8; `overlap` and `union`, uint32, are pixels that have the
    label and are given it, and that have it or are given it.
    """

    rows: int
    images: bytes
    labels: bytes
    overlap: bytes
    union: bytes


class ComparedRegions(Part, frozen=True, kw_only=True):
    """Both models on the same images, whose `ids` are little-endian uint64, see `lehr_runtime.bootstrap.row_ids`."""

    ids: bytes
    candidate: RegionAreas
    champion: RegionAreas


class SegmentationSlice(Part, frozen=True, kw_only=True):
    """A slice of the shard's images, of which there is at least one; `regions` are as those of the shard."""

    by: str
    value: str
    candidate: RegionSums
    champion: RegionSums | None = None
    regions: ComparedRegions | None = None


class ShardSegmentation(ShardPart, frozen=True, kw_only=True):
    """What one unit of evaluation writes of a segmentation; the first unit has a few examples.

    `regions` are None without a champion.
    """

    schema: Literal[1] = 1
    candidate: SegmentationCounts
    champion: SegmentationCounts | None = None
    paired: PairedImages | None = None
    regions: ComparedRegions | None = None
    slices: list[SegmentationSlice] = field(default_factory=list)
    examples: list[SegmentationExample] = field(default_factory=list)


class LabelReport(Part, frozen=True, kw_only=True):
    """IoU and Dice of one label over all pixels; None where no pixel has it and none is given it."""

    label: str
    iou: float | None
    dice: float | None
    support: int


class SegmentationMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split.

    Means are over the labels that occur in a mask or in an answer. `majority_mean_iou` is the mean IoU of giving every
    pixel the commonest label.
    """

    rows: int
    pixels: int
    mean_iou: float
    mean_dice: float
    pixel_accuracy: float
    majority_mean_iou: float
    rows_per_second: float
    confusion: list[list[int]]
    classes: list[LabelReport]


class SegmentationReport(ComparedReport, frozen=True, kw_only=True):
    """`evaluation.json` of a segmentation.

    `sign_test_p` is of the images on which they differ: how likely so uneven a division is between equals.
    """

    schema: Literal[1] = 1
    kind: Literal["segmentation"] = "segmentation"
    candidate: SegmentationMetrics
    champion: SegmentationMetrics | None = None
    paired: PairedImages | None = None
    sign_test_p: float | None = None
    examples: list[SegmentationExample] = field(default_factory=list)
