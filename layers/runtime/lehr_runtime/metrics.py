"""Classification metrics as sums that merge by addition, so that shards can be evaluated apart.

numpy alone: scikit-learn is too large for a function, and is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lehr.contracts.evaluation import (
    CALIBRATION_BINS,
    ClassificationCounts,
    ClassificationMetrics,
    ClassReport,
    PairedCounts,
    ReliabilityBin,
    SliceSums,
)
from lehr_runtime.ranking import count_scores, merge_scores, summarise_scores


def count_classification(
    probabilities: np.ndarray, y: np.ndarray, classes: int, seconds: float
) -> ClassificationCounts:
    """Count one shard: probabilities float32 [rows, classes], labels integer [rows], time to predict in s.

    Log loss clips as scikit-learn 1.9 does, to [eps, 1 - eps] of the probabilities' own dtype
    (sklearn.metrics.log_loss), and sums in float64. Calibration: Guo et al. 2017, "On Calibration of
    Modern Neural Networks", section 2, CALIBRATION_BINS bins ((m-1)/M, m/M] by the largest probability.
    Raises ValueError for labels outside 0 to classes - 1 or shapes that do not fit.
    """
    truth = _checked(probabilities, y, classes)
    predicted = probabilities.argmax(axis=1)
    rows = np.arange(len(truth))
    confusion = np.bincount(truth * classes + predicted, minlength=classes * classes)
    confidence = probabilities[rows, predicted].astype(np.float64)
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return ClassificationCounts(
        rows=len(truth),
        confusion=confusion.reshape(classes, classes).tolist(),
        log_loss_sum=_log_loss_sum(probabilities, truth),
        bin_rows=np.bincount(bins, minlength=CALIBRATION_BINS).tolist(),
        bin_confidence_sum=np.bincount(bins, weights=confidence, minlength=CALIBRATION_BINS).tolist(),
        bin_correct=np.bincount(bins[predicted == truth], minlength=CALIBRATION_BINS).tolist(),
        seconds=seconds,
        scores=count_scores(probabilities, truth),
    )


def count_slice(probabilities: np.ndarray, y: np.ndarray, classes: int) -> SliceSums:
    """As `count_classification`, of the rows of a slice, without what grows with the square of the labels."""
    truth = _checked(probabilities, y, classes)
    predicted = probabilities.argmax(axis=1)
    return SliceSums(
        rows=len(truth),
        hits=np.bincount(truth[predicted == truth], minlength=classes).tolist(),
        support=np.bincount(truth, minlength=classes).tolist(),
        predicted=np.bincount(predicted, minlength=classes).tolist(),
        log_loss_sum=_log_loss_sum(probabilities, truth),
    )


def _checked(probabilities: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """The labels as int64. Raises ValueError."""
    if probabilities.shape != (len(y), classes) or y.ndim != 1:
        raise ValueError(f"probabilities {probabilities.shape} and labels {y.shape} of {classes} classes")
    truth = y.astype(np.int64)
    if len(truth) and (truth.min() < 0 or truth.max() >= classes):
        raise ValueError(f"labels from {truth.min()} to {truth.max()} of {classes} classes")
    return truth


def _log_loss_sum(probabilities: np.ndarray, truth: np.ndarray) -> float:
    eps = np.finfo(probabilities.dtype).eps
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], eps, 1 - eps)
    return float(-np.log(of_truth.astype(np.float64)).sum())


def merge_counts(parts: Iterable[ClassificationCounts]) -> ClassificationCounts:
    """The counts of all shards together. Raises ValueError for none, or for different classes."""
    shards = list(parts)
    if len({len(shard.confusion) for shard in shards}) != 1:
        raise ValueError(f"{len(shards)} parts with confusion matrices of one size are needed")
    scores = [shard.scores for shard in shards if shard.scores is not None]
    return ClassificationCounts(
        rows=sum(shard.rows for shard in shards),
        confusion=np.sum([shard.confusion for shard in shards], axis=0).tolist(),
        log_loss_sum=sum(shard.log_loss_sum for shard in shards),
        bin_rows=np.sum([shard.bin_rows for shard in shards], axis=0).tolist(),
        bin_confidence_sum=np.sum([shard.bin_confidence_sum for shard in shards], axis=0).tolist(),
        bin_correct=np.sum([shard.bin_correct for shard in shards], axis=0).tolist(),
        seconds=sum(shard.seconds for shard in shards),
        scores=merge_scores(scores) if len(scores) == len(shards) else None,
    )


def merge_slices(parts: Iterable[SliceSums]) -> SliceSums:
    """The rows of all shards together."""
    shards = list(parts)
    return SliceSums(
        rows=sum(shard.rows for shard in shards),
        hits=np.sum([shard.hits for shard in shards], axis=0).tolist(),
        support=np.sum([shard.support for shard in shards], axis=0).tolist(),
        predicted=np.sum([shard.predicted for shard in shards], axis=0).tolist(),
        log_loss_sum=sum(shard.log_loss_sum for shard in shards),
    )


def summarise_slice(sums: SliceSums) -> dict[str, float]:
    """Metrics of at least one row; macro F1 is over the labels that its rows have or are given."""
    hits, support, predicted = (np.array(one) for one in (sums.hits, sums.support, sums.predicted))
    occurs = support + predicted > 0
    return {
        "accuracy": int(hits.sum()) / sums.rows,
        "macro F1": float((2 * hits[occurs] / (support + predicted)[occurs]).mean()),
        "log loss": sums.log_loss_sum / sums.rows,
    }


def summarise(counts: ClassificationCounts, labels: list[str]) -> ClassificationMetrics:
    """Metrics of all rows. Precision, recall and F1 are 0 where undefined; macro F1 is over all labels.

    `rows_per_second` is of one function: the shards' seconds add up although they ran side by side.
    Raises ValueError for no rows, or for a number of labels that is not that of the counts.
    """
    if counts.rows == 0 or len(labels) != len(counts.confusion):
        raise ValueError(f"{counts.rows} rows of {len(counts.confusion)} classes, {len(labels)} labels")
    confusion = np.array(counts.confusion, dtype=np.int64)
    hits, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    gaps = np.abs(np.array(counts.bin_correct) - np.array(counts.bin_confidence_sum))
    return ClassificationMetrics(
        rows=counts.rows,
        accuracy=int(hits.sum()) / counts.rows,
        macro_f1=float(f1.mean()),
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        ranking=summarise_scores(counts.scores, len(labels)) if counts.scores else None,
        bins=_bins(counts),
        log_loss=counts.log_loss_sum / counts.rows,
        expected_calibration_error=float(gaps.sum()) / counts.rows,
        majority_share=int(support.max()) / counts.rows,
        rows_per_second=counts.rows / counts.seconds if counts.seconds else 0.0,
        confusion=counts.confusion,
        classes=[
            ClassReport(
                label=label,
                precision=float(precision[index]),
                recall=float(recall[index]),
                f1=float(f1[index]),
                support=int(support[index]),
            )
            for index, label in enumerate(labels)
        ],
    )


def _bins(counts: ClassificationCounts) -> list[ReliabilityBin]:
    """The bins that have rows."""
    return [
        ReliabilityBin(
            low=place / CALIBRATION_BINS,
            high=(place + 1) / CALIBRATION_BINS,
            rows=rows,
            confidence=confidence / rows,
            accuracy=right / rows,
        )
        for place, (rows, confidence, right) in enumerate(
            zip(counts.bin_rows, counts.bin_confidence_sum, counts.bin_correct, strict=True)
        )
        if rows
    ]


def paired(
    candidate_probabilities: np.ndarray, champion_probabilities: np.ndarray, y: np.ndarray
) -> PairedCounts:
    """Who was right on the same rows; probabilities [rows, classes] of each model, labels [rows]."""
    candidate = candidate_probabilities.argmax(axis=1) == y
    champion = champion_probabilities.argmax(axis=1) == y
    return PairedCounts(
        both=int((candidate & champion).sum()),
        only_candidate=int((candidate & ~champion).sum()),
        only_champion=int((~candidate & champion).sum()),
        neither=int((~candidate & ~champion).sum()),
    )


def merge_paired(parts: Iterable[PairedCounts]) -> PairedCounts:
    """The paired counts of all shards together."""
    shards = list(parts)
    return PairedCounts(
        both=sum(shard.both for shard in shards),
        only_candidate=sum(shard.only_candidate for shard in shards),
        only_champion=sum(shard.only_champion for shard in shards),
        neither=sum(shard.neither for shard in shards),
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    quotient: np.ndarray = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return quotient
