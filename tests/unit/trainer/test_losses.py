"""Losses against their formulas, written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lehr.contracts.recipe_tables import Training
from lehr_trainer import losses
from lehr_trainer.errors import JobInputError

ROWS, CLASSES = 6, 4


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def expit(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ROWS, CLASSES)) * 3


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([0, 1, 2, 3, 3, 0])


def _value(loss: Any, outputs: np.ndarray, targets: np.ndarray) -> float:
    return float(loss(torch.from_numpy(outputs), torch.from_numpy(targets)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5, 3.0)])
def test_cross_entropy_is_the_formula(
    logits: np.ndarray, labels: np.ndarray, smoothing: float, weights: tuple[float, ...]
) -> None:
    weight = np.array(weights or (1.0,) * CLASSES)
    log_p = log_softmax(logits)
    truth = np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES
    expected = -(truth * log_p * weight).sum() / ROWS
    training = Training(label_smoothing=smoothing, class_weights=weights)
    loss = losses.make_loss(training, [], torch.device("cpu"))
    found = float(loss(torch.from_numpy(logits).float(), torch.from_numpy(labels)))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [None, 0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5, 3.0)])
def test_focal_loss_is_the_formula(
    logits: np.ndarray, labels: np.ndarray, gamma: float | None, weights: tuple[float, ...]
) -> None:
    weight = np.array(weights or (1.0,) * CLASSES)[labels]
    log_p = log_softmax(logits)[np.arange(ROWS), labels]
    expected = -(weight * (1 - np.exp(log_p)) ** (2.0 if gamma is None else gamma) * log_p).mean()
    training = Training(loss="focal", focal_gamma=gamma, class_weights=weights)
    loss = losses.make_loss(training, [], torch.device("cpu"))
    found = float(loss(torch.from_numpy(logits).float(), torch.from_numpy(labels)))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_a_finite_gradient_on_a_certain_row(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    losses.focal(logits, torch.tensor([0, 0]), gamma=gamma).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_binary_cross_entropy_is_the_formula(logits: np.ndarray) -> None:
    targets = np.random.default_rng(2).random(logits.shape)
    p = expit(logits)
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    assert _value(losses.binary_cross_entropy, logits, targets) == pytest.approx(expected)
    assert _value(losses.binary_cross_entropy, np.array([1e4]), np.array([0.0])) == 1e4


def test_squared_and_huber_error_are_the_formulas() -> None:
    predictions, targets = np.array([[0.0, 1.0], [5.0, -3.0]]), np.array([[0.5, 1.0], [1.0, 0.0]])
    assert _value(losses.mse, predictions, targets) == pytest.approx((0.25 + 0 + 16 + 9) / 4)
    assert _value(losses.huber, predictions, targets) == pytest.approx((0.125 + 0 + 3.5 + 2.5) / 4)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("binary_cross_entropy", losses.binary_cross_entropy),
        ("dice", losses.dice),
        ("mse", losses.mse),
        ("huber", losses.huber),
    ],
)
def test_a_loss_has_its_name(name: Any, function: Any) -> None:
    assert losses.make_loss(Training(loss=name), [], torch.device("cpu")) is function


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], [10, 30, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    training = Training(class_weights="balanced")
    found = losses.make_class_weights(training, [10, 30, 5], torch.device("cpu"))
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_balanced_weights_of_an_absent_class_are_refused() -> None:
    with pytest.raises(JobInputError, match=r"none of label 1 \(give the weights as numbers"):
        losses.make_class_weights(Training(class_weights="balanced"), [3, 0, 2], torch.device("cpu"))
