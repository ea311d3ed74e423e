"""What the endpoint answers: predictions with their labels, and the description of the serving model."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from aws_lambda_powertools.event_handler import Response

from functions.predict.champions import Champion


def to_response(answer: dict[str, Any]) -> Response[str]:
    """200 with a JSON body. float32 probabilities go as the double they are, so nothing is lost."""
    return Response(
        status_code=200, content_type="application/json", body=msgspec.json.encode(answer).decode()
    )


def describe_predictions(probabilities: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    """For each row of [n, labels]: the likeliest label, its probability, and the probability of every label."""
    answers = []
    for best, row in zip(probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True):
        by_label = dict(zip(labels, row, strict=True))
        answers.append({"label": labels[best], "probability": row[best], "probabilities": by_label})
    return answers


def describe_champion(project: str, champion: Champion) -> dict[str, Any]:
    """Which model serves, what it takes and what it gives."""
    signature = champion.model.signature
    return {
        "project": project,
        "model_version": champion.model.version,
        "generation": champion.generation,
        "task": signature.task,
        "labels": signature.labels,
        "input": {"dtype": signature.input.dtype, "shape": signature.input.shape},
    }
