"""Metrics equal scikit-learn's, and the counts of shards add up to those of the whole."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from lehr.contracts.evaluation import CALIBRATION_BINS
from lehr_runtime.metrics import (
    count_classification,
    count_slice,
    merge_counts,
    merge_paired,
    merge_slices,
    paired,
    summarise,
    summarise_slice,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities from timid to certain, labels that need not include every class."""
    rows, classes = draw(st.integers(1, 60)), draw(st.integers(2, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = random.normal(0, draw(st.sampled_from([0.1, 1.0, 10.0, 60.0])), (rows, classes))
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    used = draw(st.integers(1, classes))
    return probabilities, random.integers(0, used, rows).astype(np.uint8), classes


@settings(deadline=None, max_examples=150)
@given(cases())
def test_metrics_equal_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    probabilities, y, classes = case
    names = [str(index) for index in range(classes)]
    found = summarise(count_classification(probabilities, y, classes, 0.5), names)
    predicted, labels = probabilities.argmax(axis=1), list(range(classes))
    assert found.confusion == confusion_matrix(y, predicted, labels=labels).tolist()
    assert found.accuracy == pytest.approx(accuracy_score(y, predicted))
    macro = f1_score(y, predicted, labels=labels, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(macro)
    assert found.macro_precision == pytest.approx(np.mean([one.precision for one in found.classes]))
    assert found.macro_recall == pytest.approx(np.mean([one.recall for one in found.classes]))
    loss = log_loss(y_true=y, y_proba=probabilities, labels=labels)
    assert found.log_loss == pytest.approx(loss, rel=1e-4, abs=1e-6)
    each = precision_recall_fscore_support(y, predicted, labels=labels, zero_division=0)
    reports = [(item.precision, item.recall, item.f1, item.support) for item in found.classes]
    np.testing.assert_allclose(np.array(reports).T, np.array(each))
    assert found.majority_share == pytest.approx(np.bincount(y).max() / len(y))
    assert found.rows_per_second == pytest.approx(len(y) / 0.5)


@settings(deadline=None)
@given(cases())
def test_calibration_error_equals_its_definition(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    probabilities, y, classes = case
    confidence, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == y
    expected = 0.0
    for number in range(CALIBRATION_BINS):
        inside = (confidence * CALIBRATION_BINS > number) & (confidence * CALIBRATION_BINS <= number + 1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    counts = count_classification(probabilities, y, classes, 1.0)
    assert sum(counts.bin_rows) == len(y)
    found = summarise(counts, ["-"] * classes)
    assert found.expected_calibration_error == pytest.approx(expected, abs=1e-9)
    drawn = sum(one.rows * abs(one.accuracy - one.confidence) for one in found.bins) / len(y)
    assert drawn == pytest.approx(expected, abs=1e-9)
    assert all(one.low - 1e-6 <= one.confidence <= one.high + 1e-6 for one in found.bins)


@settings(deadline=None)
@given(cases(), st.lists(st.integers(0, 60), max_size=5))
def test_shards_merge_to_the_whole(case: tuple[np.ndarray, np.ndarray, int], cuts: list[int]) -> None:
    probabilities, y, classes = case
    others = np.roll(probabilities, 1, axis=1)
    edges = [0, *sorted(min(cut, len(y)) for cut in cuts), len(y)]
    spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
    merged = merge_counts(count_classification(probabilities[s], y[s], classes, 0.25) for s in spans)
    whole = count_classification(probabilities, y, classes, 0.25 * len(spans))
    exact = ("rows", "confusion", "bin_rows", "bin_correct", "seconds")
    assert all(getattr(merged, name) == getattr(whole, name) for name in exact)
    assert merged.log_loss_sum == pytest.approx(whole.log_loss_sum)
    assert merged.bin_confidence_sum == pytest.approx(whole.bin_confidence_sum)
    assert merged.scores == whole.scores
    assert merge_paired(paired(probabilities[s], others[s], y[s]) for s in spans) == paired(
        probabilities, others, y
    )
    cuts_of = [count_slice(probabilities[s], y[s], classes) for s in spans]
    left = merge_slices([merge_slices(cuts_of[:1]), *cuts_of[1:]])
    right = merge_slices([*cuts_of[:-1], merge_slices(cuts_of[-1:])])
    for found in (left, right):
        assert summarise_slice(found) == pytest.approx(
            summarise_slice(count_slice(probabilities, y, classes))
        )


@settings(deadline=None)
@given(cases())
def test_metrics_of_a_slice_equal_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    probabilities, y, classes = case
    predicted = probabilities.argmax(axis=1)
    assert summarise_slice(count_slice(probabilities, y, classes)) == pytest.approx(
        {
            "accuracy": accuracy_score(y, predicted),
            "macro F1": f1_score(y, predicted, average="macro", zero_division=0),
            "log loss": log_loss(y_true=y, y_proba=probabilities, labels=list(range(classes))),
        },
        rel=1e-4,
        abs=1e-6,
    )


def test_paired_counts_say_who_was_right() -> None:
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    candidate = np.array([right, right, right, wrong, wrong], np.float32)
    champion = np.array([right, wrong, wrong, right, wrong], np.float32)
    found = paired(candidate, champion, np.zeros(5, np.uint8))
    assert (found.both, found.only_candidate, found.only_champion, found.neither) == (1, 2, 1, 1)


def test_a_certain_and_wrong_answer_costs_a_finite_loss() -> None:
    counts = count_classification(np.array([[1.0, 0.0]], np.float32), np.array([1]), 2, 1.0)
    assert counts.log_loss_sum == pytest.approx(-math.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("y", [[2], [-1], [0, 1], [[0]]])
def test_labels_that_do_not_fit_are_refused(y: list[int]) -> None:
    with pytest.raises(ValueError, match="classes"):
        count_classification(np.array([[0.5, 0.5]], np.float32), np.array(y), 2, 1.0)


def test_no_rows_have_no_metrics() -> None:
    empty = count_classification(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), 2, 0.0)
    with pytest.raises(ValueError, match="0 rows"):
        summarise(empty, ["a", "b"])


def test_parts_of_different_models_do_not_merge() -> None:
    parts = [count_classification(np.full((1, n), 1 / n, np.float32), np.array([0]), n, 1.0) for n in (2, 3)]
    with pytest.raises(ValueError, match="2 parts"):
        merge_counts(parts)
    with pytest.raises(ValueError, match="0 parts"):
        merge_counts([])
