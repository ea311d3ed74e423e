"""Areas under curves: within their own bounds of scikit-learn's, and the same from shards as from all rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from lehr_runtime.ranking import count_scores, merge_scores, summarise_scores


def answers(seed: int, rows: int, labels: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities from timid to certain, of labels that are told apart a little."""
    random = np.random.default_rng(seed)
    y = random.integers(0, labels, rows)
    logits = random.normal(0, scale, (rows, labels))
    logits[np.arange(rows), y] += scale
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32), y


CASES = st.tuples(
    st.integers(0, 2**32), st.integers(2, 80), st.integers(2, 6), st.sampled_from([0.1, 1.0, 5.0, 40.0])
)


@settings(deadline=None)
@given(CASES)
def test_areas_are_those_of_scikit_learn_within_the_stated_error(case: tuple[int, int, int, float]) -> None:
    probabilities, y = answers(*case)
    labels = probabilities.shape[1]
    found = summarise_scores(count_scores(probabilities, y), labels)
    curves = [1] if labels == 2 else range(labels)
    told = [(y == label, probabilities[:, label]) for label in curves if 0 < (y == label).sum() < len(y)]
    if not told:
        assert found is None
        return
    assert found is not None
    roc = np.mean([roc_auc_score(*one) for one in told])
    precision = np.mean([average_precision_score(*one) for one in told])
    assert abs(found.roc_auc - roc) <= found.roc_auc_error + 1e-9
    assert abs(found.pr_auc - precision) <= found.pr_auc_error + 1e-9


@pytest.mark.parametrize(("labels", "scale"), [(2, 1.0), (10, 2.0), (80, 5.0)])
def test_the_error_is_small_on_a_test_split_of_some_size(labels: int, scale: float) -> None:
    probabilities, y = answers(1, 5000, labels, scale)
    found = summarise_scores(count_scores(probabilities, y), labels)
    assert found is not None
    assert max(found.roc_auc_error, found.pr_auc_error) < 0.01
    peers = [y == label for label in ([1] if labels == 2 else range(labels))]
    columns = [1] if labels == 2 else range(labels)
    areas = [roc_auc_score(one, probabilities[:, label]) for one, label in zip(peers, columns, strict=True)]
    assert found.roc_auc == pytest.approx(np.mean(areas), abs=1e-3)


@settings(deadline=None)
@given(CASES, st.lists(st.integers(0, 80), max_size=4))
def test_shards_merge_to_the_whole(case: tuple[int, int, int, float], cuts: list[int]) -> None:
    probabilities, y = answers(*case)
    edges = [0, *sorted(min(cut, len(y)) for cut in cuts), len(y)]
    parts = [count_scores(probabilities[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    assert merge_scores(parts) == count_scores(probabilities, y)
    assert merge_scores([merge_scores(parts[:2]), *parts[2:]]) == merge_scores(parts)


def test_probabilities_of_zero_and_one_are_the_ends() -> None:
    probabilities = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=np.float32)
    found = summarise_scores(count_scores(probabilities, np.array([0, 1, 1])), 2)
    assert found is not None
    assert (found.roc_auc, found.pr_auc) == (1.0, 1.0)


def test_parts_of_other_labels_do_not_merge() -> None:
    parts = [count_scores(*answers(1, 9, labels, 1.0)) for labels in (2, 3)]
    with pytest.raises(ValueError, match="histograms of one size"):
        merge_scores(parts)
