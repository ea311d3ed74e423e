"""Areas under ROC and precision-recall curves, from histograms of probabilities that merge by addition.

A probability falls into one of equal bins of the inverse hyperbolic sine of its logit, which is near to the logit in
the middle and to its logarithm at the ends: so probabilities near 0 and near 1 are told apart as far as float32 does.
Rows of one bin count as ties; how far that can be from the truth is computed with the area, and each figure comes with
its own bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from lehr.contracts.evaluation import RankingMetrics, ScoreHistograms

# float32 has no probability above 0 that is less than e^-104.
_LARGEST_LOGIT = 104.0
_LARGEST = float(np.arcsinh(_LARGEST_LOGIT / 2))
_COUNT = np.dtype("<u8")
_MANY_CURVES = 64


def count_scores(probabilities: np.ndarray, y: np.ndarray) -> ScoreHistograms:
    """Of float32 [rows, labels] and labels [rows]."""
    labels = probabilities.shape[1]
    curves = [1] if labels == 2 else list(range(labels))
    size = _bins(len(curves))
    histograms = np.zeros((2, len(curves), size), dtype=_COUNT)
    for row, label in enumerate(curves):
        places = _places(probabilities[:, label], size)
        is_label = y == label
        histograms[0, row] = np.bincount(places[is_label], minlength=size)
        histograms[1, row] = np.bincount(places[~is_label], minlength=size)
    return _packed(histograms)


def merge_scores(parts: Iterable[ScoreHistograms]) -> ScoreHistograms:
    """The rows of all shards together. Raises ValueError for none, or for different labels."""
    arrays = [_unpacked(part) for part in parts]
    if len({array.size for array in arrays}) != 1:
        raise ValueError(f"{len(arrays)} parts with histograms of one size are needed")
    return _packed(np.stack(arrays).sum(axis=0, dtype=_COUNT))


def summarise_scores(scores: ScoreHistograms, labels: int) -> RankingMetrics | None:
    """Areas of all rows; None where no label has both rows and others. The mean is over the labels that have both.

    ROC AUC: the share of pairs of a row of the label and another in which the first has the larger probability, ties
    counted half (Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747). Average precision: the sum
    of precisions at each recall, times what the recall has gained (sklearn.metrics.average_precision_score).
    """
    curves = 1 if labels == 2 else labels
    positives, negatives = _unpacked(scores).reshape(2, curves, _bins(curves)).astype(np.float64)
    areas = [
        (*_roc(ours, others), *_precision(ours, others))
        for ours, others in zip(positives, negatives, strict=True)
        if ours.sum() and others.sum()
    ]
    if not areas:
        return None
    roc, roc_error, precision, precision_error = np.mean(areas, axis=0).tolist()
    return RankingMetrics(
        roc_auc=roc, roc_auc_error=roc_error, pr_auc=precision, pr_auc_error=precision_error
    )


def _roc(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """The area; pairs within a bin are those that may be on the other side."""
    below = np.cumsum(negatives) - negatives
    pairs = positives.sum() * negatives.sum()
    ties = (positives * negatives).sum() / 2
    return float(((positives * below).sum() + ties) / pairs), float(ties / pairs)


def _precision(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """The area; within a bin precision is least where the rows of the label come last, and greatest where first."""
    ours, others = positives[::-1], negatives[::-1]
    true, false = np.cumsum(ours), np.cumsum(others)
    before, wrong = true - ours, false - others
    gained = ours / true[-1]
    found = np.maximum(1, true + false)
    area = (gained * true / found).sum()
    best = (gained * true / np.maximum(1, true + wrong)).sum()
    worst = (gained * (before + 1) / np.maximum(1, before + 1 + false)).sum()
    return float(area), float(max(best - area, area - worst))


def _places(probabilities: np.ndarray, size: int) -> np.ndarray:
    wide = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(wide) - np.log1p(-wide)
    bent = np.arcsinh(np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT) / 2)
    places: np.ndarray = np.minimum(((bent + _LARGEST) / (2 * _LARGEST) * size).astype(np.int64), size - 1)
    return places


def _bins(curves: int) -> int:
    """The same for all shards of a model; of very many labels fewer, for the sake of the document's size."""
    return 4096 if curves <= _MANY_CURVES else 256


def _packed(histograms: np.ndarray) -> ScoreHistograms:
    positives, negatives = (zlib.compress(half.astype(_COUNT).tobytes()) for half in histograms)
    return ScoreHistograms(positives=positives, negatives=negatives)


def _unpacked(scores: ScoreHistograms) -> np.ndarray:
    """uint64 [2, values]."""
    halves = [
        np.frombuffer(zlib.decompress(raw), dtype=_COUNT) for raw in (scores.positives, scores.negatives)
    ]
    return np.stack(halves)
