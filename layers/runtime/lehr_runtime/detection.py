"""From what a graph gives to boxes, the same in evaluation and in serving, and their mean average precision.

A graph gives [n, cells, 4 + labels]: for every cell of its grid a box, left, top, right and bottom in shares of the
image, and the score of each label. Which of them are answers is decided here and not in the graph: ONNX's
NonMaxSuppression gives as many rows as it finds, and an order by score is none that two processors agree on.

Average precision is COCO's, https://cocodataset.org/#detection-eval: boxes of all images by falling score, each a true
one if it overlaps a box that no better one has taken; the precision at 101 recalls, made to fall; the mean over ten
thresholds of IoU. Lin et al. 2014, https://arxiv.org/abs/1405.0312.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from lehr.contracts.detection import DetectionCounts, DetectionMetrics, LabelDetections, LabelPrecision

# Label, left, top, width and height; the label where there is no box.
BOX_VALUES = 5
NO_BOX = -1.0
# Of the box that a cell gives, before the scores.
CORNERS = 4
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# Below it nothing is an answer, in evaluation neither: torchvision's RetinaNet has the same.
MIN_SCORE = 0.05
# What the endpoint answers with, unless it is asked for another.
SHOWN_SCORE = 0.3
# Boxes of one label that overlap more than this are one object: torchvision's RetinaNet has the same.
SAME_OBJECT_IOU = 0.5
MAX_CANDIDATES = 1000
MAX_FOUND = 100
MATCHES = np.dtype("<u2")
SCORES = np.dtype("<f4")
PLACES = np.dtype("<u4")


@dataclass(frozen=True)
class Found:
    """The objects of one image by falling score: corners float32 [k, 4], labels int64 [k], scores float32 [k]."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def find_objects(output: np.ndarray, *, min_score: float = MIN_SCORE) -> Found:
    """At most MAX_FOUND objects in what the graph gives for one image, float32 [cells, 4 + labels].

    Every label of a cell with at least `min_score` is a candidate. Of candidates of one label that overlap by more than
    SAME_OBJECT_IOU the best one is kept, greedily; a tie goes to the cell that comes first.
    """
    scores = output[:, CORNERS:]
    cells, labels = np.nonzero(scores >= min_score)
    values = scores[cells, labels]
    order = np.argsort(-values, kind="stable")[:MAX_CANDIDATES]
    boxes, labels, values = output[cells[order], :CORNERS], labels[order], values[order]
    kept = suppress(boxes, labels)[:MAX_FOUND]
    return Found(boxes[kept], labels[kept], values[kept])


def suppress(boxes: np.ndarray, labels: np.ndarray, *, iou: float = SAME_OBJECT_IOU) -> np.ndarray:
    """The places of what is left of `boxes`, [k, 4] by falling score, once each has taken those that it overlaps."""
    rivals = (pairwise_iou(boxes, boxes) > iou) & (labels[:, None] == labels[None, :])
    is_open = np.ones(len(boxes), dtype=bool)
    kept = []
    for place in range(len(boxes)):
        if is_open[place]:
            kept.append(place)
            is_open &= ~rivals[place]
    return np.array(kept, dtype=np.int64)


def pairwise_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of corners [a, 4] with [b, 4], float64 [a, b]; 0 where both are empty."""
    one, other = one.astype(np.float64)[:, None], other.astype(np.float64)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    overlap = np.prod(np.maximum(sides, 0.0), axis=-1)
    union = _areas(one) + _areas(other) - overlap
    ious: np.ndarray = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return ious


def _areas(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)
    return areas


def true_boxes(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners float32 [k, 4] and labels int64 [k] of the boxes in one image's targets, [max_boxes, 5]."""
    present = targets[targets[:, 0] >= 0]
    starts = present[:, 1:3]
    return np.concatenate([starts, starts + present[:, 3:5]], axis=1), present[:, 0].astype(np.int64)


def match(boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Which of `boxes`, [k, 4] by falling score, are true ones: uint16 [k], a bit for each of IOU_THRESHOLDS.

    Each takes the box of `truths` [t, 4] that it overlaps most and that no better one has taken.
    """
    matches = np.zeros(len(boxes), dtype=MATCHES)
    if not len(truths):
        return matches
    is_free = np.ones((len(IOU_THRESHOLDS), len(truths)), dtype=bool)
    thresholds = np.arange(len(IOU_THRESHOLDS))
    for place, ious in enumerate(pairwise_iou(boxes, truths)):
        open_ious = np.where(is_free & (ious >= IOU_THRESHOLDS[:, None]), ious, -1.0)
        # Of equal overlaps the last one, as COCO's own code has it.
        best = len(truths) - 1 - open_ious[:, ::-1].argmax(axis=1)
        is_true = open_ious[thresholds, best] >= 0
        is_free[thresholds[is_true], best[is_true]] = False
        matches[place] = (is_true << thresholds).sum()
    return matches


def count_detection(outputs: np.ndarray, targets: np.ndarray, labels: int, seconds: float) -> DetectionCounts:
    """Count one shard: outputs [n, cells, 4 + labels], targets [n, max_boxes, 5], time to predict in s.

    Raises ValueError for shapes that do not fit, or for a label that is none of `labels`.
    """
    if (
        outputs.ndim != 3
        or targets.ndim != 3
        or len(outputs) != len(targets)
        or outputs.shape[2] != CORNERS + labels
        or targets.shape[2] != BOX_VALUES
    ):
        raise ValueError(f"outputs {outputs.shape} and boxes {targets.shape} for {labels} labels")
    if targets[..., 0].max(initial=NO_BOX) >= labels:
        raise ValueError(f"a box of label {int(targets[..., 0].max())}, and {labels} labels")
    scores: list[list[np.ndarray]] = [[] for _ in range(labels)]
    matches: list[list[np.ndarray]] = [[] for _ in range(labels)]
    images: list[list[np.ndarray]] = [[] for _ in range(labels)]
    for place, (output, target) in enumerate(zip(outputs, targets, strict=True)):
        found = find_objects(output)
        corners, own = true_boxes(target)
        for label in np.unique(found.labels).tolist():
            chosen = found.labels == label
            scores[label].append(found.scores[chosen])
            matches[label].append(match(found.boxes[chosen], corners[own == label]))
            images[label].append(np.full(np.count_nonzero(chosen), place))
    truths = [np.nonzero(targets[..., 0] == label)[0] for label in range(labels)]
    return DetectionCounts(
        rows=len(outputs),
        labels=[
            LabelDetections(
                truths=len(truths[label]),
                scores=_joined(scores[label], SCORES),
                matches=_joined(matches[label], MATCHES),
                images=_joined(images[label], PLACES),
                truth_images=_joined([truths[label]], PLACES),
            )
            for label in range(labels)
        ],
        seconds=seconds,
    )


def _joined(parts: Sequence[np.ndarray], dtype: np.dtype) -> bytes:
    return b"".join(part.astype(dtype).tobytes() for part in parts)


def merge_detection(parts: Iterable[DetectionCounts]) -> DetectionCounts:
    """The images of all shards together, one shard's after the other's. Raises ValueError for none, or for different
    labels.
    """
    shards = list(parts)
    if len({len(shard.labels) for shard in shards}) != 1:
        raise ValueError(f"{len(shards)} parts with one number of labels are needed")
    firsts = [0, *accumulate(shard.rows for shard in shards)][:-1]

    def places(raw: Iterable[bytes]) -> bytes:
        shifted = [
            np.frombuffer(one, dtype=PLACES) + np.uint32(first)
            for one, first in zip(raw, firsts, strict=True)
        ]
        return _joined(shifted, PLACES)

    return DetectionCounts(
        rows=sum(shard.rows for shard in shards),
        labels=[
            LabelDetections(
                truths=sum(one.truths for one in same),
                scores=b"".join(one.scores for one in same),
                matches=b"".join(one.matches for one in same),
                images=places(one.images for one in same),
                truth_images=places(one.truth_images for one in same),
            )
            for same in zip(*(shard.labels for shard in shards), strict=True)
        ],
        seconds=sum(shard.seconds for shard in shards),
    )


def summarise_detection(counts: DetectionCounts, labels: Sequence[str]) -> DetectionMetrics:
    """Metrics of all images; mAP is 0 where the test has no box. Raises ValueError for another number of labels."""
    reports = []
    for name, one in zip(labels, counts.labels, strict=True):
        scores = np.frombuffer(one.scores, dtype=SCORES)
        precision = precision_at_recalls(scores, np.frombuffer(one.matches, dtype=MATCHES), one.truths)
        reports.append(
            LabelPrecision(
                label=name,
                truths=one.truths,
                found=len(scores),
                ap50_95=float(precision.mean()) if one.truths else None,
                ap50=float(precision[0].mean()) if one.truths else None,
                precision=precision[0].tolist() if one.truths else [],
            )
        )
    return DetectionMetrics(
        rows=counts.rows,
        truths=sum(one.truths for one in counts.labels),
        map50_95=_mean(one.ap50_95 for one in reports),
        map50=_mean(one.ap50 for one in reports),
        rows_per_second=counts.rows / counts.seconds if counts.seconds else 0.0,
        labels=reports,
    )


def precision_at_recalls(scores: np.ndarray, matches: np.ndarray, truths: int) -> np.ndarray:
    """Precision for each of IOU_THRESHOLDS at each of RECALLS, float64 [10, 101]: the best at that recall or a higher.

    It is 0 where a recall is never reached.
    """
    found = np.zeros((len(IOU_THRESHOLDS), len(RECALLS)))
    if not truths or not len(scores):
        return found
    ordered = matches[np.argsort(-scores, kind="stable")]
    for threshold, row in enumerate(found):
        true = np.cumsum((ordered >> threshold) & 1, dtype=np.int64)
        precision = true / np.arange(1, len(true) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(true / truths, RECALLS, side="left")
        is_reached = places < len(falling)
        row[is_reached] = falling[places[is_reached]]
    return found


def _mean(values: Iterable[float | None]) -> float:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else 0.0
