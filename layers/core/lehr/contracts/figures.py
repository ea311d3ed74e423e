"""The figures of a training that a model is known by."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Part


class TrainingFigures(Part, frozen=True, kw_only=True):
    """What training measured after its last epoch: on the rows held out, or on those trained on if there are none.

    Of a regression there is no accuracy, but errors in the target's units, where rows are held out.
    Of a segmentation the accuracy is one of pixels, and `mean_iou` is of the held-out images; of object detection there
    is mAP at an IoU of 0.5 instead.
    """

    split: Literal["train", "validation"]
    epoch: int
    accuracy: float | None
    loss: float
    rmse: float | None = None
    mae: float | None = None
    mean_iou: float | None = None
    map50: float | None = None
