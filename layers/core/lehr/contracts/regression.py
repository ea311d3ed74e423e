"""Statistics of a model that predicts a number, on one test shard, and the report that they add up to."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.comparison import ComparedReport, PairedBootstrap, ShardPart
from lehr.contracts.document import Part


class RegressionCounts(Part, frozen=True, kw_only=True):
    """Sums over rows, in the target's units and their squares."""

    rows: int
    squared_error_sum: float
    absolute_error_sum: float
    target_sum: float
    target_square_sum: float
    seconds: float


class RegressionSlice(Part, frozen=True, kw_only=True):
    """A slice of the shard's rows, in which there is at least one; `errors` are as those of the shard."""

    by: str
    value: str
    candidate: RegressionCounts
    champion: RegressionCounts | None = None
    errors: PairedBootstrap | None = None


class ShardRegression(ShardPart, frozen=True, kw_only=True):
    """What one unit of evaluation writes of a regression; `errors` has the squared errors of both models."""

    schema: Literal[1] = 1
    candidate: RegressionCounts
    champion: RegressionCounts | None = None
    errors: PairedBootstrap | None = None
    slices: list[RegressionSlice] = field(default_factory=list)


class RegressionMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split. `target_std` is the error of always predicting the mean."""

    rows: int
    rmse: float
    mae: float
    r2: float
    target_std: float
    rows_per_second: float


class RegressionReport(ComparedReport, frozen=True, kw_only=True):
    """`evaluation.json` of a regression."""

    schema: Literal[1] = 1
    kind: Literal["regression"] = "regression"
    target: str
    candidate: RegressionMetrics
    champion: RegressionMetrics | None = None
