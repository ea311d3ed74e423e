"""Counts of pixels: against scikit-learn and scipy, whole and in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from lehr.contracts.segmentation import PairedImages, SegmentationCounts
from lehr_runtime.segmentation import (
    confusions,
    count_segmentation,
    mean_ious,
    merge_paired_images,
    merge_segmentation,
    paired_images,
    predict_masks,
    rows_at_once,
    sign_test,
    summarise_segmentation,
)

LABELS = ["ground", "ball", "box", "never"]
RANDOM = np.random.default_rng(5)
TRUTH = RANDOM.choice(np.array([0, 1, 2, 255], np.uint8), (9, 5, 7), p=[0.5, 0.2, 0.2, 0.1])
MASKS = np.where(RANDOM.random(TRUTH.shape) < 0.7, np.minimum(TRUTH, 2), RANDOM.integers(0, 3, TRUTH.shape))
MASKS = MASKS.astype(np.uint8)
COUNTS = TRUTH != 255


def counted() -> tuple[SegmentationCounts, np.ndarray]:
    return count_segmentation(MASKS, TRUTH, len(LABELS), 2.0)


def test_counts_and_means_are_those_of_scikit_learn() -> None:
    counts, _ = counted()
    truth, guess = TRUTH[COUNTS], MASKS[COUNTS]
    expected = confusion_matrix(truth, guess, labels=range(4))
    np.testing.assert_array_equal(counts.confusion, expected)
    found = summarise_segmentation(counts, LABELS)
    occurring = [0, 1, 2]
    assert found.mean_iou == pytest.approx(jaccard_score(truth, guess, labels=occurring, average="macro"))
    assert found.mean_dice == pytest.approx(f1_score(truth, guess, labels=occurring, average="macro"))
    assert found.pixel_accuracy == pytest.approx(accuracy_score(truth, guess))
    ious = jaccard_score(truth, guess, labels=occurring, average=None)
    assert [one.iou for one in found.classes] == [*map(pytest.approx, ious), None]
    assert [one.support for one in found.classes] == np.bincount(truth, minlength=4).tolist()
    assert (found.rows, found.pixels, found.rows_per_second) == (9, int(COUNTS.sum()), 4.5)


def test_the_commonest_label_everywhere_is_measured_as_a_model_is() -> None:
    counts, _ = counted()
    commonest = np.zeros_like(MASKS)
    always = summarise_segmentation(count_segmentation(commonest, TRUTH, 4, 1.0)[0], LABELS)
    assert summarise_segmentation(counts, LABELS).majority_mean_iou == pytest.approx(always.mean_iou)


def test_each_image_has_a_mean_iou_of_its_own() -> None:
    _, ious = counted()
    for row, iou in enumerate(ious):
        where = COUNTS[row]
        assert iou == pytest.approx(jaccard_score(TRUTH[row][where], MASKS[row][where], average="macro"))


def test_shards_add_up_to_the_whole() -> None:
    whole, ious = counted()
    parts = [count_segmentation(MASKS[part], TRUTH[part], 4, 1.0) for part in (slice(4), slice(4, 9))]
    assert merge_segmentation(one for one, _ in parts) == whole
    np.testing.assert_array_equal(np.concatenate([one for _, one in parts]), ious)
    with pytest.raises(ValueError, match="0 parts"):
        merge_segmentation([])


def test_an_image_without_a_pixel_that_counts_has_no_iou() -> None:
    nothing = np.full((1, 2, 2), 255, np.uint8)
    assert mean_ious(confusions(np.zeros_like(nothing), nothing, 2)).tolist() == [0.0]
    with pytest.raises(ValueError, match="0 pixels"):
        summarise_segmentation(count_segmentation(nothing * 0, nothing, 2, 1.0)[0], ["a", "b"])


@pytest.mark.parametrize(
    ("masks", "truth"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 4), np.uint8)),
        (np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 4, np.uint8)),
        (np.full((1, 2, 2), 4, np.uint8), np.zeros((1, 2, 2), np.uint8)),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"masks|beyond"):
        confusions(masks, truth, 4)


def test_images_are_paired_by_whose_iou_is_higher() -> None:
    found = paired_images(np.array([0.5, 0.7, 0.2, 0.9]), np.array([0.5, 0.6, 0.1, 1.0]))
    assert found == PairedImages(only_candidate=2, only_champion=1, equal=1)
    assert merge_paired_images([found, found]) == PairedImages(only_candidate=4, only_champion=2, equal=2)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (12, 3), (700, 600), (3000, 2000)])
def test_the_sign_test_is_that_of_scipy(better: int, worse: int) -> None:
    paired = PairedImages(only_candidate=better, only_champion=worse, equal=7)
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(paired) == pytest.approx(expected, rel=1e-8)


class _Predictor:
    """Gives the probabilities that it is asked with, and remembers how many at a time."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers, self.sizes = answers, [0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        first = sum(self.sizes)
        self.sizes.append(len(x))
        return self.answers[first : first + len(x)]


def test_images_go_through_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = RANDOM.dirichlet([1.0, 1.0, 1.0], (5, 4, 6)).transpose(0, 3, 1, 2).astype(np.float32)
    predictor: Any = _Predictor(answers)
    monkeypatch.setattr("lehr_runtime.segmentation._VALUES_AT_ONCE", 2 * 4 * 6 * 32)
    masks, certainty, seconds = predict_masks(predictor, np.zeros((5, 4, 6), np.uint8), labels=3)
    assert predictor.sizes == [0, 2, 2, 1]
    np.testing.assert_array_equal(masks, answers.argmax(1))
    np.testing.assert_allclose(certainty, answers.max(1).mean((1, 2)), rtol=1e-6)
    assert seconds > 0


def test_a_large_image_goes_alone() -> None:
    assert rows_at_once(4096, 4096, 255) == 1
    assert rows_at_once(64, 64, 11) == 256
