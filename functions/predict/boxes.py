"""What is found in an image, in the pixels of the image that was sent, whatever size the model takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from functions.predict import media
from functions.predict.problems import misfit
from functions.predict.requests import MAX_BATCH, image_files, parse_inputs
from lehr.contracts.package import TensorSpec
from lehr.http.gateway import JSON
from lehr_runtime.detection import MIN_SCORE, SHOWN_SCORE, find_objects
from lehr_runtime.images import oriented_size
from lehr_runtime.predictor import Predictor

DEFAULT_SCORE = SHOWN_SCORE
BATCH_ROWS = 32
_CSV = "text/csv"

Size = tuple[int, int]


class Rectangle(msgspec.Struct):
    """In pixels of the image that was sent; x and y are of the left upper corner, from the image's own."""

    x: float
    y: float
    width: float
    height: float


class DetectedObject(msgspec.Struct):
    """One object, and how sure the model is of it."""

    label: str
    score: float
    box: Rectangle


class Detections(msgspec.Struct):
    """The objects of one image, the surest first; there may be none."""

    detections: list[DetectedObject]


class FoundObjects(msgspec.Struct):
    """The answer to POST /predict/{project} by a model that finds boxes."""

    project: str
    model_version: str
    predictions: list[Detections]
    latency_ms: float


def read_batch(kind: str, raw: bytes, spec: TensorSpec) -> tuple[np.ndarray, list[Size]]:
    """[n, *shape] and the size, [height, width], of each image as it was sent. Raises Problem."""
    files = [("image", raw)]
    if kind == JSON:
        files = image_files(raw)
    if files and kind != _CSV:
        # Every header is read and found sound here.
        batch = media.decode_images(files, spec)
        return batch, [oriented_size(file, place=place) for place, file in files]
    batch = parse_inputs(raw, spec) if kind == JSON else media.decode_csv(raw, spec, max_rows=MAX_BATCH)
    return batch, [(spec.shape[1], spec.shape[2])] * len(batch)


def read_score(query: Mapping[str, str]) -> float:
    """The query's `score`, or the default. Raises Problem (422) unless it is from MIN_SCORE to 1."""
    text = query.get("score")
    if text is None:
        return DEFAULT_SCORE
    try:
        score = float(text) if text.isascii() and len(text) < 20 else math.nan
    except ValueError:
        score = math.nan
    if MIN_SCORE <= score <= 1:
        return score
    expected = f"a number from {MIN_SCORE} to 1"
    raise misfit("score", f"score is not {expected}.", expected=expected, got="something else")


def find_in_images(
    predictor: Predictor, batch: np.ndarray, sizes: Sequence[Size], labels: Sequence[str], *, score: float
) -> list[Detections]:
    """What is found in each of [n, *shape], a few images at a time: their cells are more than the images themselves."""
    found: list[Detections] = []
    for first in range(0, len(batch), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        found += describe_objects(predictor.predict(batch[rows]), sizes[rows], labels, score=score)
    return found


def describe_objects(
    outputs: np.ndarray, sizes: Sequence[Size], labels: Sequence[str], *, score: float
) -> list[Detections]:
    """One for each of [n, cells, 4 + labels], of images of `sizes`."""
    answers = []
    for output, (height, width) in zip(outputs, sizes, strict=True):
        found = find_objects(output, min_score=score)
        scale = np.array([width, height, width, height], dtype=np.float64)
        corners = np.round(found.boxes * scale, 2)
        answers.append(
            Detections(
                [
                    DetectedObject(labels[label], value, _rectangle(*box))
                    for box, label, value in zip(
                        corners.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
                    )
                ]
            )
        )
    return answers


def _rectangle(left: float, top: float, right: float, bottom: float) -> Rectangle:
    return Rectangle(left, top, round(right - left, 2), round(bottom - top, 2))
