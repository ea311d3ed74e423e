"""Losses, each the mean over the rows of a batch, so that a batch cut into parts weighs its rows as the whole does.

Outputs come as the module gives them: logits, or real predictions. Which loss fits which task stands in
`lehr.contracts.training_rules`. Sums are taken in the type of the outputs, float32 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from lehr.contracts.recipe_tables import Training
from lehr_trainer.boxes import detection
from lehr_trainer.errors import JobInputError

Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]

DEFAULT_FOCAL_GAMMA = 2.0


def make_loss(training: Training, class_counts: Sequence[int], device: Any) -> Loss:
    """The recipe's loss, of outputs and targets; `class_counts` are training rows of each class.

    Raises JobInputError where class_weights = "balanced" and a class has no rows.
    """
    weights = make_class_weights(training, class_counts, device)
    match training.loss:
        case "cross_entropy":
            return partial(cross_entropy, label_smoothing=training.label_smoothing, class_weights=weights)
        case "focal":
            gamma = DEFAULT_FOCAL_GAMMA if training.focal_gamma is None else training.focal_gamma
            return partial(focal, gamma=gamma, class_weights=weights)
        case "binary_cross_entropy":
            return binary_cross_entropy
        case "dice":
            return dice
        case "mse":
            return mse
        case "huber":
            return huber
        case "detection":
            return detection


def make_class_weights(training: Training, class_counts: Sequence[int], device: Any) -> Tensor | None:
    """float32 [classes] on `device`, or None for none. Raises JobInputError, see `make_loss`.

    "balanced" is rows / (classes * rows of the class): https://scikit-learn.org/stable/modules/generated/
    sklearn.utils.class_weight.compute_class_weight.html. The mean weight of a training row is then 1.
    """
    if training.class_weights != "balanced":
        return torch.tensor(training.class_weights, device=device) if training.class_weights else None
    absent = [number for number, count in enumerate(class_counts) if not count]
    if absent:
        raise JobInputError(
            f'class_weights = "balanced" needs rows of every label; there are none of label {absent[0]}',
            place="training",
            hint="give the weights as numbers, one for each label",
        )
    rows, classes = sum(class_counts), len(class_counts)
    return torch.tensor([rows / (classes * count) for count in class_counts], device=device)


def cross_entropy(
    logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy in nats of `logits` [rows, classes] and int64 `labels` [rows].

    Smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7. The sum of weighted rows is divided
    by their number, as Keras does, and not by the sum of their weights, as torch does: a row's share then does
    not depend on what else is in its batch.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    total = F.cross_entropy(
        logits, labels, weight=class_weights, label_smoothing=label_smoothing, reduction="sum"
    )
    return total / len(labels)


def focal(
    logits: Tensor, labels: Tensor, *, gamma: float = DEFAULT_FOCAL_GAMMA, class_weights: Tensor | None = None
) -> Tensor:
    """-w (1 - p)^gamma log p, with p the probability of a row's label and w the weight of its class.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 5. Shapes are those of `cross_entropy`, which it is
    for gamma 0.
    """
    entropy = F.cross_entropy(logits, labels, reduction="none")
    # Below one, gamma's gradient is infinite where p is 1.
    missing = (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny)
    rows = missing**gamma * entropy
    return (rows if class_weights is None else rows * class_weights[labels]).mean()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid cross-entropy in nats of logits and targets in [0, 1] of one shape, the mean over all elements.

    Computed from the logits, max(x, 0) - x t + log(1 + exp(-|x|)), which does not overflow:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """
    return F.binary_cross_entropy_with_logits(logits, targets)


def dice(logits: Tensor, targets: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(p t) + smooth) / (sum(p^2) + sum(t^2) + smooth) with p = sigmoid(logits): soft Dice.

    Milletari et al. 2016, https://arxiv.org/abs/1606.04797, section 3; `smooth` keeps an empty mask that is found empty
    at 0. Both [rows, channels, ...], targets in [0, 1]: a coefficient for each row and channel, then the mean.
    """
    probabilities, truth = torch.sigmoid(logits).flatten(2), targets.flatten(2)
    overlap = (probabilities * truth).sum(2)
    size = probabilities.square().sum(2) + truth.square().sum(2)
    return (1 - (2 * overlap + smooth) / (size + smooth)).mean()


def mse(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over all elements of two tensors of one shape."""
    return F.mse_loss(predictions, targets)


def huber(predictions: Tensor, targets: Tensor, *, delta: float = 1.0) -> Tensor:
    """e^2 / 2 within `delta` of the target and delta (|e| - delta / 2) beyond, the mean over all elements.

    Huber 1964, https://doi.org/10.1214/aoms/1177703732, equation 2.
    """
    return F.huber_loss(predictions, targets, delta=delta)
