"""A paired bootstrap of the mean IoU: what chance does to the difference of two models' mean IoU over all images.

An IoU is a ratio of pixels of all images together and no mean over images, so it is worked out anew in every resample,
of the same images for both models (`lehr_runtime.bootstrap.compare_anew`). The mean is over the labels that occur in
the resample. The same images give the same figures always, however they are divided into shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from lehr.contracts.comparison import Comparison
from lehr.contracts.segmentation import RegionAreas
from lehr_runtime.bootstrap import compare_anew
from lehr_runtime.segmentation import regions

PLACES, LABELS, PIXELS = np.dtype("<u4"), np.dtype("u1"), np.dtype("<u4")


def areas_of(confusion: np.ndarray) -> RegionAreas:
    """Of every image, int64 [n, labels, labels], what each label that occurs has of it."""
    overlap, union, _ = regions(confusion)
    images, labels = np.nonzero(union)
    return _areas(len(confusion), images, labels, overlap[images, labels], union[images, labels])


def areas_of_rows(areas: RegionAreas, rows: np.ndarray) -> RegionAreas:
    """Of some of the images, `rows` int [k] or bool [n], in their order; each once."""
    chosen = np.arange(areas.rows)[rows]
    places = np.full(areas.rows, -1)
    places[chosen] = np.arange(len(chosen))
    images, labels, overlap, union = _arrays(areas)
    moved = places[images]
    there = moved >= 0
    return _areas(len(chosen), moved[there], labels[there], overlap[there], union[there])


def merge_areas(parts: Iterable[RegionAreas]) -> RegionAreas:
    """The images of all parts, one after the other."""
    shards = list(parts)
    firsts = np.cumsum([0, *(shard.rows for shard in shards)])
    found = [_arrays(shard) for shard in shards]
    columns = [[one[index] for one in found] for index in range(4)]
    columns[0] = [images + first for images, first in zip(columns[0], firsts, strict=False)]
    return _areas(int(firsts[-1]), *(np.concatenate(column or [np.zeros(0)]) for column in columns))


def compare_regions(
    ids: np.ndarray, candidate: RegionAreas, champion: RegionAreas, measure: str
) -> Comparison:
    """Of images with `ids`, uint64 [n], in the order of both. A resample without any label counts against either.

    Raises ValueError for areas of other images.
    """
    if not len(ids) == candidate.rows == champion.rows:
        raise ValueError(f"{len(ids)} images, areas of {candidate.rows} and {champion.rows}")
    models = [_by_label(one) for one in (candidate, champion)]
    sizes = [len(images) for model in models for images, _ in model]
    return compare_anew(
        measure,
        ids,
        (partial(_means, models[0]), partial(_means, models[1])),
        values=sum(sizes),
        widest=max(sizes, default=0),
    )


def resampled_mean_ious(areas: RegionAreas, taken: np.ndarray) -> np.ndarray:
    """float64 [resamples]: the mean IoU of images that are `taken` so often each, uint8 [resamples, images]."""
    return _means(_by_label(areas), taken)


def _means(labels: Sequence[tuple[np.ndarray, np.ndarray]], taken: np.ndarray) -> np.ndarray:
    """0 of a resample in which no label occurs."""
    total, there = np.zeros(len(taken)), np.zeros(len(taken))
    for images, pixels in labels:
        overlap, union = (taken.take(images, axis=1).astype(np.float64) @ pixels).T
        total += np.divide(overlap, union, out=np.zeros(len(taken)), where=union > 0)
        there += union > 0
    means: np.ndarray = total / np.maximum(there, 1)
    return means


def _by_label(areas: RegionAreas) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each label that occurs the places of its images, int [k], and its overlap and union there, float64 [k, 2]."""
    images, labels, overlap, union = _arrays(areas)
    pixels = np.stack([overlap, union], axis=1).astype(np.float64)
    return [(images[labels == label], pixels[labels == label]) for label in np.unique(labels)]


def _arrays(areas: RegionAreas) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.frombuffer(areas.images, dtype=PLACES).astype(np.intp),
        np.frombuffer(areas.labels, dtype=LABELS),
        np.frombuffer(areas.overlap, dtype=PIXELS),
        np.frombuffer(areas.union, dtype=PIXELS),
    )


def _areas(
    rows: int, images: np.ndarray, labels: np.ndarray, overlap: np.ndarray, union: np.ndarray
) -> RegionAreas:
    return RegionAreas(
        rows=rows,
        images=images.astype(PLACES).tobytes(),
        labels=labels.astype(LABELS).tobytes(),
        overlap=overlap.astype(PIXELS).tobytes(),
        union=union.astype(PIXELS).tobytes(),
    )
