"""Losses, each the mean over the rows of a batch, so that a batch cut into parts weighs its rows as the whole does.

Where pixels have labels, [rows, height, width], a row's loss is the mean over all of its pixels, and one that is
IGNORED adds nothing to it: a pixel weighs the same in every batch.

Outputs come as the module gives them: logits, or real predictions. Which loss fits which task stands in
`lehr.contracts.training_rules`. Sums are taken in the type of the outputs, float32 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from lehr.contracts.file_units import IGNORED
from lehr.contracts.recipe_tables import Training
from lehr_trainer.boxes import detection
from lehr_trainer.errors import JobInputError

Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]

DEFAULT_FOCAL_GAMMA = 2.0


def make_loss(training: Training, class_counts: Sequence[int], device: Any) -> Loss:
    """The recipe's loss, of outputs and targets; `class_counts` are training rows, or pixels, of each class.

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
        case "cross_entropy_dice":
            smoothing = training.label_smoothing
            return partial(cross_entropy_dice, label_smoothing=smoothing, class_weights=weights)
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
    """Softmax cross-entropy in nats of `logits` [rows, classes] and int64 `labels` [rows], or both with [..., h, w].

    Smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7. The sum of weighted rows is divided
    by their number, as Keras does, and not by the sum of their weights, as torch does: a row's share then does
    not depend on what else is in its batch.
    """
    if labels.dim() > 1:
        return _of_pixels(logits, labels, "sum", label_smoothing, class_weights) / labels.numel()
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
    if labels.dim() > 1:
        entropy = _of_pixels(logits, labels, "none")
        labels = labels.reshape(-1).clamp_max(logits.shape[1] - 1)
    else:
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


def dice(logits: Tensor, labels: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(p t) + smooth) / (sum(p^2) + sum(t^2) + smooth) with p = softmax(logits): soft Dice of pixels.

    Milletari et al. 2016, https://arxiv.org/abs/1606.04797, section 3, of each row and class, then the mean; sums are
    over the pixels that are not IGNORED, and t is 1 where a pixel has the class. `smooth` keeps a class that is absent
    and found to be absent at 0. `logits` [rows, classes, height, width], int64 `labels` [rows, height, width].
    """
    counts = (labels != IGNORED).unsqueeze(1)
    classes = torch.arange(logits.shape[1], device=labels.device).view(-1, 1, 1)
    probabilities = (torch.softmax(logits, 1) * counts).flatten(2)
    truth = (labels.unsqueeze(1) == classes).flatten(2).to(probabilities.dtype)
    overlap = (probabilities * truth).sum(2)
    size = probabilities.square().sum(2) + truth.sum(2)
    return (1 - (2 * overlap + smooth) / (size + smooth)).mean()


def cross_entropy_dice(
    logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """The sum of `cross_entropy` and `dice`, which pull at single pixels and at whole regions.

    Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z (nnU-Net), add the two with equal weights.
    """
    entropy = cross_entropy(logits, labels, label_smoothing=label_smoothing, class_weights=class_weights)
    return entropy + dice(logits, labels)


def _of_pixels(
    logits: Tensor,
    labels: Tensor,
    reduction: str,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of all pixels as rows: the kernel of images has no result that is the same twice on a GPU."""
    return F.cross_entropy(
        logits.movedim(1, -1).reshape(-1, logits.shape[1]),
        labels.reshape(-1),
        weight=class_weights,
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


def mse(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over all elements of two tensors of one shape."""
    return F.mse_loss(predictions, targets)


def huber(predictions: Tensor, targets: Tensor, *, delta: float = 1.0) -> Tensor:
    """e^2 / 2 within `delta` of the target and delta (|e| - delta / 2) beyond, the mean over all elements.

    Huber 1964, https://doi.org/10.1214/aoms/1177703732, equation 2.
    """
    return F.huber_loss(predictions, targets, delta=delta)
