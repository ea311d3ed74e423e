"""Answers of a model that labels pixels: a mask for each image, small enough for one answer of a function."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
import numpy as np

from functions.predict.large_answers import MAX_ANSWER_BYTES, too_large
from lehr_runtime.masks import encode_mask


class SegmentedImage(msgspec.Struct):
    """One image: a PNG in base64 whose palette indices are places in `labels`, of the model's height and width.

    `probability` is the mean over its pixels of the likeliest label's, `shares` the share of the pixels of each label.
    """

    mask: str
    probability: float
    shares: dict[str, float]


class Masks(msgspec.Struct):
    """The answer to POST /predict/{project} by a model that labels pixels."""

    project: str
    model_version: str
    labels: list[str]
    predictions: list[SegmentedImage]
    latency_ms: float


def describe_masks(
    masks: np.ndarray, certainty: np.ndarray, labels: Sequence[str], *, most_bytes: int = MAX_ANSWER_BYTES
) -> list[SegmentedImage]:
    """One for each of uint8 [n, height, width] and float32 [n].

    Raises Problem (422) for more than one answer holds.
    """
    answers: list[SegmentedImage] = []
    size = 0
    for mask, probability in zip(masks, certainty.tolist(), strict=True):
        text = base64.b64encode(encode_mask(mask)).decode("ascii")
        size += len(text)
        if size > most_bytes:
            raise too_large(f"the masks of {len(answers)} images", most_bytes)
        counts = np.bincount(mask.reshape(-1), minlength=len(labels)) / mask.size
        answers.append(SegmentedImage(text, probability, dict(zip(labels, counts.tolist(), strict=True))))
    return answers
