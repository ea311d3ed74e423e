"""Two simulated detectors on the same test images: the scores of their boxes, and at which IoUs these are true ones.

A true box is as hard for one as for the other by four fifths. How well it is found says at how many of the ten IoUs it
counts, at none if badly, and its score follows that with noise; as many boxes again are of nothing. Labels are equally
common.
"""

from __future__ import annotations

import numpy as np

from lehr.contracts.detection import DetectionCounts, LabelDetections
from lehr_runtime.detection import IOU_THRESHOLDS, MATCHES, PLACES, SCORES

# Of the ten IoUs those at which a box of middling difficulty is true, and what difficulty makes of it.
_MIDDLE, _SPREAD = 4.5, 3.5


def detectors(
    random: np.random.Generator, images: int, gain: float, *, labels: int = 3, boxes: float = 1.0
) -> tuple[DetectionCounts, DetectionCounts]:
    """Candidate and champion; the candidate's boxes are true at `gain` more of the IoUs, in the mean.

    There are `boxes` of each label in an image, and twice as many are found, in the mean.
    """
    both: tuple[list[LabelDetections], list[LabelDetections]] = ([], [])
    for _ in range(labels):
        truths = np.repeat(np.arange(images), random.poisson(boxes, images))
        shared = random.normal(size=len(truths))
        for found, more in zip(both, (gain, 0.0), strict=True):
            found.append(_found(random, images, truths, shared, more))
    candidate, champion = (DetectionCounts(rows=images, labels=found, seconds=1.0) for found in both)
    return candidate, champion


def _found(
    random: np.random.Generator, images: int, truths: np.ndarray, shared: np.ndarray, more: float
) -> LabelDetections:
    own = 0.8 * shared + 0.6 * random.normal(size=len(truths))
    reached = np.clip(_MIDDLE + more + _SPREAD * own, 0, len(IOU_THRESHOLDS)).astype(np.int64)
    nothing = random.integers(0, images, len(truths))
    certain = np.concatenate(
        [own + 0.7 * random.normal(size=len(truths)), random.normal(-1, 1, len(nothing))]
    )
    places = np.concatenate([truths, nothing])
    matches = np.concatenate([(1 << reached) - 1, np.zeros(len(nothing), np.int64)])
    order = np.argsort(places, kind="stable")
    return LabelDetections(
        truths=len(truths),
        scores=(1 / (1 + np.exp(-certain[order]))).astype(SCORES).tobytes(),
        matches=matches[order].astype(MATCHES).tobytes(),
        images=places[order].astype(PLACES).tobytes(),
        truth_images=truths.astype(PLACES).tobytes(),
    )
