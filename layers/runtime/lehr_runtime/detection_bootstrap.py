"""A paired bootstrap of mean average precision: what chance does to the difference of two models' mAP.

An average precision is no mean over images, so it is worked out anew in every resample. A resample takes each image as
often as `lehr_runtime.bootstrap.times` says, with all its boxes, the same for both models; an image that is taken twice
has its boxes twice in the order of scores. The mean is over the labels that have a box in the resample. The same images
give the same figures always, however they are divided into shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lehr.contracts.comparison import Comparison
from lehr.contracts.detection import DetectionCounts, LabelDetections
from lehr_runtime.bootstrap import compare_anew
from lehr_runtime.detection import IOU_THRESHOLDS, MATCHES, PLACES, RECALLS, SCORES

ALL_THRESHOLDS, AT_50 = range(len(IOU_THRESHOLDS)), range(1)
# More than the rounding of a hundred times a recall, and far less than the next one.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class _Ranked:
    """Boxes of one label by falling score: places of their images [k], of the true ones among them at each threshold;
    and places of the images of the boxes that are there."""

    images: np.ndarray
    true: list[np.ndarray]
    truth_images: np.ndarray


def compare_maps(
    ids: np.ndarray,
    candidate: DetectionCounts,
    champion: DetectionCounts,
    measure: str,
    thresholds: Sequence[int] = ALL_THRESHOLDS,
) -> Comparison:
    """Of images with `ids`, uint64 [n] in the order of both counts; `thresholds` are places in IOU_THRESHOLDS.

    A resample in which no label has a box counts against either. Raises ValueError for counts of other images.
    """
    if not len(ids) == candidate.rows == champion.rows:
        raise ValueError(f"{len(ids)} images, counts of {candidate.rows} and {champion.rows}")
    models = [_ranked(counts, thresholds) for counts in (candidate, champion)]
    return compare_anew(
        measure,
        ids,
        (partial(_maps, models[0]), partial(_maps, models[1])),
        # The boxes that both models have found and their true ones at each threshold.
        values=sum(len(one.images) + sum(map(len, one.true)) for model in models for one in model),
        widest=max((len(one.images) for model in models for one in model), default=0),
    )


def mean_average_precisions(
    counts: DetectionCounts, taken: np.ndarray, thresholds: Sequence[int] = ALL_THRESHOLDS
) -> np.ndarray:
    """float64 [resamples]: mAP of images that are `taken` so often each, uint8 [resamples, images]."""
    return _maps(_ranked(counts, thresholds), taken)


def _ranked(counts: DetectionCounts, thresholds: Sequence[int]) -> list[_Ranked]:
    """Labels without a box are left out, as they are of the mean."""
    return [_rank(one, thresholds) for one in counts.labels if one.truths]


def _rank(one: LabelDetections, thresholds: Sequence[int]) -> _Ranked:
    order = np.argsort(-np.frombuffer(one.scores, dtype=SCORES), kind="stable")
    matches = np.frombuffer(one.matches, dtype=MATCHES)[order]
    return _Ranked(
        images=np.frombuffer(one.images, dtype=PLACES)[order].astype(np.intp),
        true=[np.flatnonzero((matches >> place) & 1) for place in thresholds],
        truth_images=np.frombuffer(one.truth_images, dtype=PLACES).astype(np.intp),
    )


def _maps(labels: Sequence[_Ranked], taken: np.ndarray) -> np.ndarray:
    """0 of a resample in which no label has a box."""
    total, there = np.zeros(len(taken)), np.zeros(len(taken))
    for one in labels:
        truths = taken.take(one.truth_images, axis=1).sum(axis=1, dtype=np.int64)
        total += _average_precisions(one, taken, truths)
        there += truths > 0
    maps: np.ndarray = total / np.maximum(there, 1)
    return maps


def _average_precisions(one: _Ranked, taken: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """float64 [resamples], the mean over the thresholds; see `lehr_runtime.detection.precision_at_recalls`.

    Precision is best where a true box has just been found, so that only those places are looked at, and each counts as
    often as there are recalls that it is the first to reach.
    """
    weights = taken.take(one.images, axis=1)
    seen = np.cumsum(weights, axis=1, dtype=np.int32)
    total = np.zeros(len(taken))
    for places in one.true:
        true = np.cumsum(weights.take(places, axis=1), axis=1, dtype=np.int32)
        precision = true / np.maximum(seen.take(places, axis=1), 1)
        falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recalls = true / np.maximum(truths, 1)[:, None]
        highest = (recalls * (len(RECALLS) - 1) + _ROUNDING).astype(np.int32)
        # One too high where the recall itself, as a float, is a little above.
        highest -= RECALLS.take(highest) > recalls
        total += np.einsum("ij,ij->i", np.diff(highest, axis=1, prepend=-1), falling)
    average: np.ndarray = total / (len(one.true) * len(RECALLS))
    return average
