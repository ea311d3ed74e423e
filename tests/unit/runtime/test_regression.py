"""Errors of predicted numbers, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from lehr_runtime.regression import count_regression, merge_regression, summarise_regression


def test_shards_add_up_to_the_metrics_of_all_rows() -> None:
    random = np.random.default_rng(0)
    y = random.normal(100, 30, 1000).astype(np.float32)
    values = (y + random.normal(2, 5, 1000).astype(np.float32))[:, None]
    parts = [count_regression(values[rows], y[rows], 0.5) for rows in (slice(0, 300), slice(300, 1000))]
    seen = summarise_regression(merge_regression(parts))
    assert seen.rmse == pytest.approx(root_mean_squared_error(y, values[:, 0]), rel=1e-6)
    assert seen.mae == pytest.approx(mean_absolute_error(y, values[:, 0]), rel=1e-6)
    assert seen.r2 == pytest.approx(r2_score(y, values[:, 0]), rel=1e-6)
    assert (seen.rows, seen.rows_per_second) == (1000, 1000)
    assert seen.target_std == pytest.approx(y.std(), rel=1e-5)


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        count_regression(np.zeros((3, 2), np.float32), np.zeros(3, np.float32), 0.0)
