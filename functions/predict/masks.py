"""Answers of a model that labels pixels: a mask for each image, small enough for one answer of a function."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
import numpy as np

from functions.predict.inference_requests import InferRequest, wants_bytes
from lehr.contracts.package import Signature
from lehr.http.problems import Problem
from lehr_runtime.masks import encode_mask

# A function may answer with 6 MB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_ANSWER_BYTES = 5 << 20
# Of a float32 in JSON, at most, and of one in base64.
_TEXT_BYTES, _BASE64_BYTES = 24, 16 / 3


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
            raise _too_large(f"the masks of {len(answers)} images", most_bytes)
        counts = np.bincount(mask.reshape(-1), minlength=len(labels)) / mask.size
        answers.append(SegmentedImage(text, probability, dict(zip(labels, counts.tolist(), strict=True))))
    return answers


def refuse_large_tensor(asked: InferRequest, rows: int, signature: Signature) -> None:
    """Raise Problem (422) where the probabilities of `rows` images are more than an answer holds."""
    values = math.prod(signature.output.shape[1:])
    each = values * (_BASE64_BYTES if wants_bytes(asked) else _TEXT_BYTES)
    if rows * each > MAX_ANSWER_BYTES:
        raise _too_large(f"the probabilities of {int(MAX_ANSWER_BYTES / each)} images here", MAX_ANSWER_BYTES)


def _too_large(fits: str, most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "answer-size",
        f"The answer would be too large: {fits} fit into {most_bytes} bytes. Ask for fewer. Binary tensors take less "
        "room than numbers in JSON, and masks (POST /predict) the least.",
    )
