"""True labels of predictions: a line of the predict function's log, and what they add up to."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part


class LabelledPrediction(Part, frozen=True, kw_only=True):
    """Row `row` of a request, which `model_version` answered with `predicted`; `label` is what it should have been."""

    request_id: str
    row: int
    model_version: str
    predicted: str
    label: str


class FeedbackLine(Document, frozen=True, kw_only=True):
    """What one request to POST /feedback/{project} has told, or a part of it. `time` is ISO 8601 in UTC."""

    kind: Literal["feedback"] = "feedback"
    schema: Literal[1] = 1
    project: str
    time: str
    labels: list[LabelledPrediction]


class LiveAccuracy(Part, frozen=True, kw_only=True):
    """The labels that came for one model version within a window: how many rows, and how many had been right.

    `low` and `high` are the bounds of Wilson's interval of 95 %. `is_low`: all of it is below the recipe's
    `min_live_accuracy`.
    """

    model_version: str
    rows: int
    right: int
    accuracy: float
    low: float
    high: float
    is_low: bool
