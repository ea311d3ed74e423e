"""One test shard of rows with a label each, or a number: what both models make of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from lehr.contracts.evaluation import ClassificationSlice, ShardEvaluation
from lehr.contracts.regression import RegressionSlice, ShardRegression
from lehr.errors import MismatchedDataError, ModelPackageError
from lehr_runtime.bootstrap import resample
from lehr_runtime.metrics import count_classification, count_slice, paired
from lehr_runtime.packages import LoadedModel
from lehr_runtime.regression import count_regression, squared_errors
from lehr_runtime.slicing import Slice
from lehr_runtime.tables import Inputs

BATCH_ROWS = 512


def evaluate_labels(
    index: int,
    models: Sequence[LoadedModel],
    x: Inputs,
    y: np.ndarray,
    ids: np.ndarray,
    slices: Sequence[Slice],
) -> ShardEvaluation:
    """Count inputs `x` with labels `y` uint8 [n]. Raises MismatchedDataError for a label that a model does not know.

    `ids` are not needed: who is right on a row is counted without resamples.
    """
    answers, counts = [], []
    for model in models:
        labels = len(model.signature.labels)
        if len(y) and int(y.max()) >= labels:
            raise MismatchedDataError(
                f"the shard has label {int(y.max())}, model {model.version} {labels} labels"
            )
        probabilities, seconds = _predict(model, x)
        answers.append(probabilities)
        counts.append(count_classification(probabilities, y, labels, seconds))
    cuts = []
    for one in slices:
        own = [count_slice(found[one.rows], y[one.rows], found.shape[1]) for found in answers]
        cuts.append(
            ClassificationSlice(
                by=one.by,
                value=one.value,
                candidate=own[0],
                champion=own[1] if own[1:] else None,
                paired=paired(answers[0][one.rows], answers[1][one.rows], y[one.rows]) if own[1:] else None,
            )
        )
    return ShardEvaluation(
        index=index,
        candidate=counts[0],
        champion=counts[1] if counts[1:] else None,
        paired=paired(answers[0], answers[1], y) if counts[1:] else None,
        slices=cuts,
    )


def evaluate_values(
    index: int,
    models: Sequence[LoadedModel],
    x: Inputs,
    y: np.ndarray,
    ids: np.ndarray,
    slices: Sequence[Slice],
) -> ShardRegression:
    """Count inputs `x` with numbers to predict `y` float32 [n]. Raises ModelPackageError for a model of labels."""
    answers, counts = [], []
    for model in models:
        if model.signature.labels:
            raise ModelPackageError(f"model {model.version} gives labels, the data has numbers to predict")
        values, seconds = _predict(model, x)
        answers.append(values)
        counts.append(count_regression(values, y, seconds))
    errors = [squared_errors(values, y) for values in answers]
    cuts = []
    for one in slices:
        own = [count_regression(values[one.rows], y[one.rows], 0.0) for values in answers]
        cuts.append(
            RegressionSlice(
                by=one.by,
                value=one.value,
                candidate=own[0],
                champion=own[1] if own[1:] else None,
                errors=resample(ids[one.rows], *(found[one.rows] for found in errors)) if own[1:] else None,
            )
        )
    return ShardRegression(
        index=index,
        candidate=counts[0],
        champion=counts[1] if counts[1:] else None,
        errors=resample(ids, *errors) if counts[1:] else None,
        slices=cuts,
    )


def _predict(model: LoadedModel, x: Inputs) -> tuple[np.ndarray, float]:
    """What the model gives for all rows, batch by batch, and the seconds that it took."""
    begin = perf_counter()
    batches = [model.predictor.predict(x[row : row + BATCH_ROWS]) for row in range(0, len(x), BATCH_ROWS)]
    seconds = perf_counter() - begin
    return np.concatenate(batches), seconds
