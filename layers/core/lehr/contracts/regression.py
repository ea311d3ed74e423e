"""Statistics of a model that predicts a number, on one test shard, and the report that they add up to."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part


class RegressionCounts(Part, frozen=True, kw_only=True):
    """Sums over rows, in the target's units and their squares."""

    rows: int
    squared_error_sum: float
    absolute_error_sum: float
    target_sum: float
    target_square_sum: float
    seconds: float


class ShardRegression(Document, frozen=True, kw_only=True):
    """What one unit of evaluation writes of a regression."""

    schema: Literal[1] = 1
    index: int
    candidate: RegressionCounts
    champion: RegressionCounts | None = None


class RegressionMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split. `target_std` is the error of always predicting the mean."""

    rows: int
    rmse: float
    mae: float
    r2: float
    target_std: float
    rows_per_second: float


class RegressionReport(Document, frozen=True, kw_only=True):
    """`evaluation.json` of a regression: candidate and champion on the same rows of the same dataset version."""

    schema: Literal[1] = 1
    kind: Literal["regression"] = "regression"
    project: str
    run: str
    dataset_version: str
    candidate_version: str
    champion_version: str | None = None
    target: str
    candidate: RegressionMetrics
    champion: RegressionMetrics | None = None
