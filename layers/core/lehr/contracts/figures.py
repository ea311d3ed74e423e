"""The figures of a training that a model is known by."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Part


class TrainingFigures(Part, frozen=True, kw_only=True):
    """What training measured after its last epoch: on the rows held out, or on those trained on if there are none."""

    split: Literal["train", "validation"]
    epoch: int
    accuracy: float
    loss: float
