"""The exponential moving average of the weights, which is what is validated and exported.

average = d average + (1 - d) weights after every update t, with d = min(decay, (1 + t) / (10 + t)), so that a short
training does not end in the weights that it began with:
https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage. The statistics of batch norms are averaged
with the weights that they belong to; counters stay the model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lehr_trainer.sharding import local


class AveragedWeights:
    """The average over one model's floating-point parameters and buffers, on the model's device."""

    def __init__(self, model: Any, decay: float) -> None:
        state = model.state_dict()
        self._decay = decay
        self._updates = 0
        # They share their storage with the model's, whose updates are in place.
        self._live = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        self._average = {name: tensor.clone() for name, tensor in self._live.items()}

    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        # A model that is cut up has shards beside whole tensors, and both are averaged element by element.
        average, live = (list(map(local, state.values())) for state in (self._average, self._live))
        get_ema_multi_avg_fn(decay)(average, live, None)
        self._updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the average within, and its own weights, to the bit, afterwards."""
        own = {name: tensor.clone() for name, tensor in self._live.items()}
        self.apply()
        try:
            yield
        finally:
            _copy(own, self._live)

    def apply(self) -> None:
        """Give the model the average, for good."""
        _copy(self._average, self._live)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates = state["updates"]
        _copy(state["average"], self._average)


def _copy(source: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])
