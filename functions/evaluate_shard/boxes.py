"""One test shard of images with boxes: what both models find in the same pixels, and a few images to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import msgspec
import numpy as np

from lehr.contracts.detection import (
    DetectionCounts,
    DetectionExample,
    DetectionSlice,
    DrawnBox,
    ShardDetection,
)
from lehr.contracts.detection_rules import DETECTIONS
from lehr.errors import MismatchedDataError, ModelPackageError
from lehr_runtime.detection import (
    SHOWN_SCORE,
    count_detection,
    find_objects,
    merge_detection,
    true_boxes,
)
from lehr_runtime.packages import LoadedModel
from lehr_runtime.slicing import Slice

# A grid of 64x64 cells with 80 labels is 1.4 MB an image: what was counted is not kept.
BATCH_ROWS = 32
MAX_EXAMPLES = 6
# Of either side of an example: the report has them all in one page.
MAX_EXAMPLE_SIDE = 256


@dataclass(frozen=True)
class _Counted:
    """Of one model: what it gives for the first images, the counts of all and of each slice."""

    first: np.ndarray
    counts: DetectionCounts
    slices: list[DetectionCounts]


def evaluate_boxes(
    index: int,
    models: Sequence[LoadedModel],
    x: np.ndarray,
    y: np.ndarray,
    ids: np.ndarray,
    slices: Sequence[Slice],
) -> ShardDetection:
    """Count uint8 images `x` [n, height, width, …] with boxes `y` float32 [n, max_boxes, 5].

    Raises ModelPackageError for a model of something else, MismatchedDataError for a label that it does not know.
    """
    candidate, *others = (_count(model, x, y, slices) for model in models)
    champion = others[0] if others else None
    return ShardDetection(
        index=index,
        candidate=candidate.counts,
        champion=champion.counts if champion else None,
        ids=_raw(ids),
        slices=[
            DetectionSlice(
                by=one.by,
                value=one.value,
                candidate=candidate.slices[place],
                champion=champion.slices[place] if champion else None,
                ids=_raw(ids[one.rows]),
            )
            for place, one in enumerate(slices)
        ],
        examples=[] if index else _examples(x, y, candidate.first, models[0].signature.labels),
    )


def _count(model: LoadedModel, x: np.ndarray, y: np.ndarray, slices: Sequence[Slice]) -> _Counted:
    signature = model.signature
    if signature.task not in DETECTIONS:
        raise ModelPackageError(f"model {model.version} finds no boxes, the data has some")
    labels = len(signature.labels)
    first, counts = np.empty((0, 0, 0), np.float32), []
    of_slices: list[list[DetectionCounts]] = [[] for _ in slices]
    for row in range(0, len(x), BATCH_ROWS):
        rows = slice(row, row + BATCH_ROWS)
        begin = perf_counter()
        outputs = model.predictor.predict(x[rows])
        seconds = perf_counter() - begin
        try:
            images = [
                count_detection(output[None], target[None], labels, 0.0)
                for output, target in zip(outputs, y[rows], strict=True)
            ]
        except ValueError as fault:
            raise MismatchedDataError(f"the shard has {fault}, those of model {model.version}") from fault
        counts.append(msgspec.structs.replace(merge_detection(images), seconds=seconds))
        for own, one in zip(of_slices, slices, strict=True):
            inside = one.rows[(one.rows >= row) & (one.rows < row + BATCH_ROWS)] - row
            if len(inside):
                own.append(merge_detection(images[place] for place in inside.tolist()))
        if not row:
            first = outputs[:MAX_EXAMPLES]
    return _Counted(first, merge_detection(counts), [merge_detection(own) for own in of_slices])


def _raw(ids: np.ndarray) -> bytes:
    raw: bytes = ids.astype("<u8").tobytes()
    return raw


def _examples(x: np.ndarray, y: np.ndarray, outputs: np.ndarray, labels: list[str]) -> list[DetectionExample]:
    """The first images, small ones whole and large ones thinned out."""
    step = -(-max(x.shape[1:3]) // MAX_EXAMPLE_SIDE)
    examples = []
    for row, output in enumerate(outputs):
        found = find_objects(output, min_score=SHOWN_SCORE)
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
