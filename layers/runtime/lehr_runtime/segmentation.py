"""Labels of pixels: asked for a few images at a time, and counted as sums that merge by addition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import nan
from time import perf_counter

import numpy as np

from lehr.contracts.file_units import IGNORED
from lehr.contracts.segmentation import (
    LabelReport,
    PairedImages,
    RegionSums,
    SegmentationCounts,
    SegmentationMetrics,
)
from lehr.significance import two_sided
from lehr_runtime.predictor import Predictor

# Values of the widest layer that are held at once: 128 MB in float32.
_VALUES_AT_ONCE = 1 << 25
# A network has this many channels at the image's size, or as many as there are labels.
_CHANNELS = 32


def rows_at_once(height: int, width: int, labels: int) -> int:
    """How many images go through a network of pixels together, by the memory that they take there."""
    return max(1, min(512, _VALUES_AT_ONCE // (height * width * max(labels, _CHANNELS))))


def predict_masks(
    predictor: Predictor, x: np.ndarray, *, labels: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """The likeliest label of every pixel, the mean over an image of its probability, and the seconds of prediction.

    `x` is uint8 [n, height, width, …]; gives uint8 [n, height, width] and float32 [n]. Raises as `Predictor.predict`.
    """
    height, width = x.shape[1:3]
    masks = np.empty((len(x), height, width), dtype=np.uint8)
    certainty = np.empty(len(x), dtype=np.float32)
    size, seconds = rows_at_once(height, width, labels), 0.0
    for first in range(0, len(x), size):
        part = slice(first, first + size)
        begin = perf_counter()
        probabilities = predictor.predict(x[part])
        seconds += perf_counter() - begin
        masks[part] = probabilities.argmax(axis=1)
        certainty[part] = probabilities.max(axis=1).mean(axis=(1, 2))
    return masks, certainty, seconds


def confusions(masks: np.ndarray, truth: np.ndarray, labels: int) -> np.ndarray:
    """Of every image, int64 [n, labels, labels], [true][predicted]; IGNORED pixels are left out.

    `masks` and `truth` are uint8 [n, height, width]. Raises ValueError for other shapes or labels.
    """
    if masks.shape != truth.shape or masks.ndim != 3:
        raise ValueError(f"masks {masks.shape} and truth {truth.shape}")
    counts = truth != IGNORED
    if int(truth.max(where=counts, initial=0)) >= labels or int(masks.max(initial=0)) >= labels:
        raise ValueError(f"a label beyond {labels}")
    pairs = truth.astype(np.int64) * labels + masks
    found = [np.bincount(one[where], minlength=labels**2) for one, where in zip(pairs, counts, strict=True)]
    return np.array(found, dtype=np.int64).reshape(len(masks), labels, labels)


def count_segmentation(
    masks: np.ndarray,
    truth: np.ndarray,
    labels: int,
    seconds: float,
    watch: Callable[[np.ndarray], None] = lambda part: None,
) -> tuple[SegmentationCounts, np.ndarray]:
    """Count one shard; also the mean IoU on each image, float64 [n], for `paired_images`.

    `watch` is given the `confusions` of some images at a time, in their order.
    """
    total, ious = np.zeros((labels, labels), dtype=np.int64), []
    # Of 255 labels an image's own matrix has half a megabyte.
    for first in range(0, len(masks), 64):
        part = confusions(masks[first : first + 64], truth[first : first + 64], labels)
        total += part.sum(axis=0)
        ious.append(mean_ious(part))
        watch(part)
    counts = SegmentationCounts(rows=len(masks), confusion=total.tolist(), seconds=seconds)
    return counts, np.concatenate(ious) if ious else np.zeros(0)


def count_regions(masks: np.ndarray, truth: np.ndarray, labels: int) -> RegionSums:
    """Pixels by label of the images of a slice, without what grows with the square of the labels. Raises ValueError."""
    total = np.zeros((labels, labels), dtype=np.int64)
    for first in range(0, len(masks), 64):
        total += confusions(masks[first : first + 64], truth[first : first + 64], labels).sum(axis=0)
    return RegionSums(
        rows=len(masks),
        overlap=np.diagonal(total).tolist(),
        support=total.sum(axis=1).tolist(),
        predicted=total.sum(axis=0).tolist(),
    )


def merge_regions(parts: Iterable[RegionSums]) -> RegionSums:
    """The images of all shards together."""
    shards = list(parts)
    return RegionSums(
        rows=sum(shard.rows for shard in shards),
        overlap=np.sum([shard.overlap for shard in shards], axis=0).tolist(),
        support=np.sum([shard.support for shard in shards], axis=0).tolist(),
        predicted=np.sum([shard.predicted for shard in shards], axis=0).tolist(),
    )


def summarise_regions(sums: RegionSums) -> dict[str, float]:
    """Metrics of a slice's images; NaN of those in which no pixel counts."""
    overlap, support, predicted = (np.array(one) for one in (sums.overlap, sums.support, sums.predicted))
    sizes = support + predicted
    occurs = sizes > 0
    if not support.sum():
        return dict.fromkeys(("mean IoU", "mean Dice", "pixel accuracy"), nan)
    return {
        "mean IoU": float((overlap[occurs] / (sizes - overlap)[occurs]).mean()),
        "mean Dice": float((2 * overlap[occurs] / sizes[occurs]).mean()),
        "pixel accuracy": int(overlap.sum()) / int(support.sum()),
    }


def mean_ious(confusion: np.ndarray) -> np.ndarray:
    """float64 [n] of [n, labels, labels]: the mean IoU of the labels that occur; 0 where no pixel counts."""
    overlap, union, _ = regions(confusion)
    ious = np.divide(overlap, union, out=np.zeros(overlap.shape), where=union > 0)
    means: np.ndarray = ious.sum(axis=-1) / np.maximum(1, (union > 0).sum(axis=-1))
    return means


def paired_images(candidate: np.ndarray, champion: np.ndarray) -> PairedImages:
    """Whose mean IoU is higher, image by image."""
    return PairedImages(
        only_candidate=int((candidate > champion).sum()),
        only_champion=int((candidate < champion).sum()),
        equal=int((candidate == champion).sum()),
    )


def merge_segmentation(parts: Iterable[SegmentationCounts]) -> SegmentationCounts:
    """The sums of all shards together. Raises ValueError for none, or for different labels."""
    shards = list(parts)
    if len({len(shard.confusion) for shard in shards}) != 1:
        raise ValueError(f"{len(shards)} parts with confusion matrices of one size are needed")
    return SegmentationCounts(
        rows=sum(shard.rows for shard in shards),
        confusion=np.sum([shard.confusion for shard in shards], axis=0).tolist(),
        seconds=sum(shard.seconds for shard in shards),
    )


def merge_paired_images(parts: Iterable[PairedImages]) -> PairedImages:
    """The images of all shards together."""
    shards = list(parts)
    return PairedImages(
        only_candidate=sum(shard.only_candidate for shard in shards),
        only_champion=sum(shard.only_champion for shard in shards),
        equal=sum(shard.equal for shard in shards),
    )


def summarise_segmentation(counts: SegmentationCounts, labels: Sequence[str]) -> SegmentationMetrics:
    """Metrics of all pixels. IoU is overlap / union, Dice 2 overlap / (true + predicted), of all images together.

    Raises ValueError for no pixels, or for a number of labels that is not that of the counts.
    """
    confusion = np.array(counts.confusion, dtype=np.int64)
    pixels = int(confusion.sum())
    if not pixels or len(labels) != len(confusion):
        raise ValueError(f"{pixels} pixels of {len(confusion)} labels, {len(labels)} names")
    overlap, union, sizes = regions(confusion)
    occurs = union > 0
    ious = np.divide(overlap, union, out=np.zeros(len(labels)), where=occurs)
    dices = np.divide(2 * overlap, sizes, out=np.zeros(len(labels)), where=occurs)
    support = confusion.sum(axis=1)
    return SegmentationMetrics(
        rows=counts.rows,
        pixels=pixels,
        mean_iou=float(ious[occurs].mean()),
        mean_dice=float(dices[occurs].mean()),
        pixel_accuracy=int(overlap.sum()) / pixels,
        majority_mean_iou=int(support.max()) / pixels / int((support > 0).sum()),
        rows_per_second=counts.rows / counts.seconds if counts.seconds else 0.0,
        confusion=counts.confusion,
        classes=[
            LabelReport(
                label=label,
                iou=float(ious[index]) if occurs[index] else None,
                dice=float(dices[index]) if occurs[index] else None,
                support=int(support[index]),
            )
            for index, label in enumerate(labels)
        ],
    )


def sign_test(paired: PairedImages) -> float:
    """Two-sided p of the images on which two models differ, by the binomial distribution of a fair coin.

    Dixon and Mood 1946, https://doi.org/10.1080/01621459.1946.10501898. 1 where they differ on none. It says nothing of
    by how much they differ.
    """
    return two_sided(paired.only_candidate, paired.only_champion)


def regions(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlap, union, and true and predicted pixels together, by label."""
    overlap = np.diagonal(confusion, axis1=-2, axis2=-1)
    sizes = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return overlap, sizes - overlap, sizes
