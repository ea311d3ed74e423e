"""What the endpoint answers to a prediction: labels with probabilities, by the model that gave them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from functions.predict.problems import misfit


class Prediction(msgspec.Struct):
    """One row: the likeliest label, its probability, and the probability of every label, or of the top k of them.

    `id` is there for ids=true: POST /feedback/{project} takes it, with the label that would have been right.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    id: str | msgspec.UnsetType = msgspec.UNSET


class Predictions(msgspec.Struct):
    """The answer to POST /predict/{project}; `latency_ms` is the function's own, from event to answer."""

    project: str
    model_version: str
    predictions: list[Prediction]
    latency_ms: float


class PredictedValue(msgspec.Struct):
    """One row of a regression: the value in the units of the target."""

    value: float


class Values(msgspec.Struct):
    """The answer to POST /predict/{project} by a model that predicts a number."""

    project: str
    model_version: str
    predictions: list[PredictedValue]
    latency_ms: float


def describe_values(values: np.ndarray) -> list[PredictedValue]:
    """One for each row of [n, 1]."""
    return [PredictedValue(value) for value in values[:, 0].tolist()]


def describe_predictions(
    probabilities: np.ndarray, labels: list[str], *, top_k: int | None = None
) -> list[Prediction]:
    """One for each row of [n, labels]: all labels in the model's order, or `top_k` of them, likeliest first."""
    answers = []
    for row in probabilities.tolist():
        highest = max(row)
        by_label = dict(zip(labels, row, strict=True))
        if top_k is not None:
            ranked = sorted(by_label.items(), key=lambda pair: pair[1], reverse=True)
            by_label = dict(ranked[:top_k])
        answers.append(Prediction(labels[row.index(highest)], highest, by_label))
    return answers


def read_ids(query: Mapping[str, str]) -> bool:
    """Whether the query asks for the ids of predictions. Raises Problem (422) for what is neither true nor false."""
    text = query.get("ids", "false")
    if text not in ("true", "false"):
        raise misfit("ids", "ids is not true or false.", expected="true or false", got="something else")
    return text == "true"


def read_top_k(query: Mapping[str, str], labels: int) -> int | None:
    """The query's `top_k`, or None. Raises Problem (422) unless it is from 1 to `labels`."""
    text = query.get("top_k")
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= labels:
        return int(text)
    expected = f"an integer from 1 to {labels}"
    raise misfit("top_k", f"top_k is not {expected}.", expected=expected, got="something else")
