"""What a look at the endpoint's captured predictions has found, beside the data that the champion was trained on."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.document import Document, Part
from lehr.contracts.feedback import LiveAccuracy

DriftStatus = Literal["stable", "drifted", "not_enough", "not_compared"]


class ColumnDrift(Part, frozen=True, kw_only=True):
    """One comparison: of a number, of a category, of whether a number is missing, or of the predicted labels.

    `psi` is the population stability index. `distance` is Kolmogorov and Smirnov's of a number, at the edges of its
    bins, and the total variation distance of anything else. `p_value` is of that statistic, or of Pearson's.
    """

    name: str
    kind: Literal["number", "category", "missing", "predictions"]
    rows: int
    psi: float
    distance: float
    p_value: float
    has_drifted: bool


class DriftThresholds(Part, frozen=True, kw_only=True):
    """What the comparisons were held against; `max_p_value` is the false alarm rate over their number."""

    min_rows: int
    max_psi: float
    max_distance: float
    max_p_value: float


class DriftReport(Document, frozen=True, kw_only=True):
    """drift/<project>/latest.json: captured predictions of `model_version` from `since` until `at`, in UTC.

    Columns are those that were compared, the furthest first. `is_sampled`: there were more lines than a look reads.
    `event_at` is when drift of this model version was last told to others. `live` is of every version that labels came
    for within the window.
    """

    schema: Literal[1] = 1
    project: str
    model_version: str
    at: str
    since: str
    status: DriftStatus
    reason: str
    requests: int
    rows: int
    is_sampled: bool
    thresholds: DriftThresholds
    columns: list[ColumnDrift]
    event_at: str = ""
    live: list[LiveAccuracy] = field(default_factory=list)
