"""One test shard of images with boxes: what both models find in the same pixels, and a few images to look at."""

from __future__ import annotations

import io
from collections.abc import Callable
from time import perf_counter

import numpy as np

from lehr.contracts.detection import DetectionCounts, DetectionExample, DrawnBox, ShardDetection
from lehr.contracts.detection_rules import DETECTIONS
from lehr.errors import MismatchedDataError, ModelPackageError
from lehr_runtime.detection import count_detection, find_objects, merge_detection, true_boxes
from lehr_runtime.packages import LoadedModel

# A grid of 64x64 cells with 80 labels is 1.4 MB an image: what was counted is not kept.
BATCH_ROWS = 32
MAX_EXAMPLES = 6
# Of either side of an example: the report has them all in one page.
MAX_EXAMPLE_SIDE = 256
# What is drawn: the endpoint's own default.
DRAWN_SCORE = 0.3

Check = Callable[[LoadedModel, np.ndarray], None]


def evaluate_boxes(
    index: int,
    candidate: LoadedModel,
    champion: LoadedModel | None,
    x: np.ndarray,
    y: np.ndarray,
    check: Check,
) -> ShardDetection:
    """Count uint8 images `x` [n, height, width, …] with boxes `y` float32 [n, max_boxes, 5].

    `check` raises ModelPackageError for a model of other inputs. Raises ModelPackageError for a model of something
    else, MismatchedDataError for a label that it does not know.
    """
    outputs, counts = _count(candidate, x, y, check)
    return ShardDetection(
        index=index,
        candidate=counts,
        champion=_count(champion, x, y, check)[1] if champion else None,
        examples=[] if index else _examples(x, y, outputs, candidate.signature.labels),
    )


def _count(
    model: LoadedModel, x: np.ndarray, y: np.ndarray, check: Check
) -> tuple[np.ndarray, DetectionCounts]:
    """What the model gives for the first images, and the counts of all."""
    signature = model.signature
    if signature.task not in DETECTIONS:
        raise ModelPackageError(f"model {model.version} finds no boxes, the data has some")
    check(model, x)
    first, counts = np.empty((0, 0, 0), np.float32), []
    for row in range(0, len(x), BATCH_ROWS):
        rows = slice(row, row + BATCH_ROWS)
        begin = perf_counter()
        outputs = model.predictor.predict(x[rows])
        seconds = perf_counter() - begin
        try:
            counts.append(count_detection(outputs, y[rows], len(signature.labels), seconds))
        except ValueError as fault:
            raise MismatchedDataError(f"the shard has {fault}, those of model {model.version}") from fault
        if not row:
            first = outputs[:MAX_EXAMPLES]
    return first, merge_detection(counts)


def _examples(x: np.ndarray, y: np.ndarray, outputs: np.ndarray, labels: list[str]) -> list[DetectionExample]:
    """The first images, small ones whole and large ones thinned out."""
    step = -(-max(x.shape[1:3]) // MAX_EXAMPLE_SIDE)
    examples = []
    for row, output in enumerate(outputs):
        found = find_objects(output, min_score=DRAWN_SCORE)
        corners, own = true_boxes(y[row])
        examples.append(
            DetectionExample(
                image=_png(x[row, ::step, ::step]),
                truth=[_drawn(box, labels[label]) for box, label in zip(corners, own, strict=True)],
                found=[
                    _drawn(box, labels[label], float(score))
                    for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True)
                ],
            )
        )
    return examples


def _drawn(corners: np.ndarray, label: str, score: float | None = None) -> DrawnBox:
    left, top, right, bottom = (round(value, 5) for value in corners.astype(float).tolist())
    return DrawnBox(label=label, x=left, y=top, width=right - left, height=bottom - top, score=score)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()
