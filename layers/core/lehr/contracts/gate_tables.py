"""[evaluation] and [gate] of lehr.toml: what is measured of a candidate, and what it must show before it may serve.

Which keys belong to which task stands in gate_keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from lehr.contracts.document import Part
from lehr.contracts.key_types import Count, NonNegativeFloat, PositiveFloat, Probability

# "each" value or those of a list; "quartiles", or ranges of a number that begin at the list's numbers.
SliceRule = str | tuple[float | str, ...]


class Evaluation(Part, frozen=True, kw_only=True):
    """[evaluation]: by what the test is cut into slices, each with metrics of its own.

    `slices` is a table: a column of a table, its target included; `label` of images and sound that are classified,
    `brightness` of images, `objects` in an image of boxes, `loudness` of sound.
    """

    slices: dict[str, SliceRule] = field(default_factory=dict)


class Gate(Part, frozen=True, kw_only=True):
    """[gate]: what a candidate must show before it may serve.

    `min_accuracy`, `min_class_recall` and `max_ece` are of classifications, `min_mean_iou` and `min_class_iou` of
    segmentations, `min_map50` and `min_class_ap50` of object detection, `max_rmse` of regressions, in the target's
    units, as `min_gain` is then.

    With `evidence = "significant"` a candidate must be better than the champion by more than chance explains, at the
    level `significance`; with "measured" it is enough to be better on the test, and not to be significantly worse.
    No slice may be significantly worse either way. `slices` has what each slice of a slicing must reach: accuracy, mean
    IoU or mAP at an IoU of 0.5 at least, RMSE at most; slices of fewer than `min_slice_rows` rows are not judged.
    """

    min_accuracy: Probability = 0.0
    min_mean_iou: Probability = 0.0
    min_map50: Probability = 0.0
    max_rmse: PositiveFloat | None = None
    min_class_recall: Probability = 0.0
    min_class_iou: Probability = 0.0
    min_class_ap50: Probability = 0.0
    max_ece: Probability | None = None
    min_test_rows: Count = 100
    min_gain: NonNegativeFloat = 0.0
    evidence: Literal["significant", "measured"] = "significant"
    significance: Annotated[float, Meta(ge=0.001, le=0.5)] = 0.05
    slices: dict[str, NonNegativeFloat] = field(default_factory=dict)
    min_slice_rows: Count = 30
    max_latency_ms: PositiveFloat | None = None
    max_latency_ratio: PositiveFloat | None = None
    max_package_mb: PositiveFloat | None = None
