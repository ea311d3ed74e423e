"""Errors of predicted numbers as sums that merge by addition, so that shards can be evaluated apart."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

import numpy as np

from lehr.contracts.regression import RegressionCounts, RegressionMetrics


def count_regression(values: np.ndarray, y: np.ndarray, seconds: float) -> RegressionCounts:
    """Count one shard: predicted values float32 [rows, 1], targets float32 [rows], time to predict in s.

    Sums are in float64. Raises ValueError for shapes that do not fit.
    """
    if values.shape != (len(y), 1) or y.ndim != 1:
        raise ValueError(f"values {values.shape} and targets {y.shape}")
    truth = y.astype(np.float64)
    errors = values[:, 0].astype(np.float64) - truth
    return RegressionCounts(
        rows=len(truth),
        squared_error_sum=float(np.square(errors).sum()),
        absolute_error_sum=float(np.abs(errors).sum()),
        target_sum=float(truth.sum()),
        target_square_sum=float(np.square(truth).sum()),
        seconds=seconds,
    )


def squared_errors(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64 [rows] of predicted values float32 [rows, 1] and targets float32 [rows]."""
    errors: np.ndarray = np.square(values[:, 0].astype(np.float64) - y.astype(np.float64))
    return errors


def merge_regression(parts: Iterable[RegressionCounts]) -> RegressionCounts:
    """The sums of all shards together."""
    shards = list(parts)
    return RegressionCounts(
        rows=sum(shard.rows for shard in shards),
        squared_error_sum=sum(shard.squared_error_sum for shard in shards),
        absolute_error_sum=sum(shard.absolute_error_sum for shard in shards),
        target_sum=sum(shard.target_sum for shard in shards),
        target_square_sum=sum(shard.target_square_sum for shard in shards),
        seconds=sum(shard.seconds for shard in shards),
    )


def summarise_regression(counts: RegressionCounts) -> RegressionMetrics:
    """Metrics of all rows; R2 is 0 where the target has one value. Raises ValueError for no rows."""
    if counts.rows == 0:
        raise ValueError("no rows")
    mean = counts.target_sum / counts.rows
    variance = max(0.0, counts.target_square_sum / counts.rows - mean**2)
    mse = counts.squared_error_sum / counts.rows
    return RegressionMetrics(
        rows=counts.rows,
        rmse=sqrt(mse),
        mae=counts.absolute_error_sum / counts.rows,
        r2=1 - mse / variance if variance else 0.0,
        target_std=sqrt(variance),
        rows_per_second=counts.rows / counts.seconds if counts.seconds else 0.0,
    )
