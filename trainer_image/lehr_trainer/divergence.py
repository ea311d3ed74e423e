"""Whether a training still converges: losses and weights that are no numbers, and a loss that has exploded.

Looking at a loss waits for the device, so the loop only notes the running sum of losses after each update, on the
device, and all of them are looked at together: after 100 updates, at the end of an epoch, and before every
checkpoint. From the sums follows the update that went wrong. A checkpoint is written of what was looked at and
found good only, so that the last one is always good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from lehr_trainer.errors import DivergedError
from lehr_trainer.parallel import Group
from lehr_trainer.sharding import local

Tensor = Any
ALONE = Group()
# A loss that is no number ends the run within so many updates.
LOOK_EVERY_UPDATES = 100
# So does a mean loss of so many times the first update's (or a nat, if that is more) that lasts for so many updates.
EXPLODED_TIMES = 10.0
EXPLODED_FOR_UPDATES = 200
_HINT = "lower the learning rate, or set clip_norm"


class LossWatch:
    """Watches one training of epochs of `rows` rows in updates of `rows_per_update`.

    Each process of `group` notes its own sums, and all of them look at the same time, at the totals.
    """

    def __init__(self, *, rows: int, rows_per_update: int, device: Any, group: Group = ALONE) -> None:
        self._group = group
        self._rows, self._rows_per_update = rows, rows_per_update
        self._noted = torch.zeros(LOOK_EVERY_UPDATES, dtype=torch.float64, device=device)
        self._places = self._noted.unbind()
        self._first: float | None = None
        self._exploded_for = 0
        self.begin(0.0)

    def begin(self, loss_sum: float, step: int = 0) -> None:
        """An epoch begins, or is resumed, after `step` updates with that sum of losses, of all processes."""
        self._before, self._step, self._count = loss_sum, step, 0

    def note(self, loss_sum: Tensor) -> None:
        """The epoch's sum of losses after one more update. Waits for the device once in LOOK_EVERY_UPDATES only."""
        self._places[self._count].copy_(loss_sum)
        self._count += 1

    def is_due(self) -> bool:
        return self._count == LOOK_EVERY_UPDATES

    def look(self, epoch: int) -> None:
        """Judge the updates noted since the last look; `epoch` counts from 1. Raises DivergedError."""
        count = self._count
        if not count:
            return
        sums = [self._before, *self._group.total(*self._noted[:count].tolist())]
        for number, value in enumerate(sums[1:], 1):
            if not math.isfinite(value):
                place = f"epoch {epoch} step {self._step + number}"
                raise DivergedError(f"the loss is no longer finite at {place}", hint=_HINT)
        if self._first is None:
            self._first = (sums[1] - sums[0]) / self._rows_until(1)
        mean = (sums[-1] - sums[0]) / (self._rows_until(self._step + count) - self._rows_until(self._step))
        self.begin(sums[-1], self._step + count)
        limit = EXPLODED_TIMES * max(1.0, self._first)
        self._exploded_for = self._exploded_for + count if mean > limit else 0
        if self._exploded_for >= EXPLODED_FOR_UPDATES:
            raise DivergedError(
                f"the loss has exploded: {mean:.3g} on average at epoch {epoch} step {self._step}, and over "
                f"{limit:.3g} for the last {self._exploded_for} updates; it began at {self._first:.3g}",
                hint=_HINT,
            )

    def _rows_until(self, step: int) -> int:
        return min(step * self._rows_per_update, self._rows)

    def state(self) -> dict[str, Any]:
        return {"first": self._first, "exploded_for": self._exploded_for}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._first, self._exploded_for = state["first"], state["exploded_for"]


def refuse_bad_weights(model: Any, *, epoch: int, step: int, group: Group = ALONE) -> None:
    """Raise DivergedError for a parameter that is not finite, or a floating buffer that has a NaN.

    The loss of an update is that of the weights before it: it does not tell what they are now. Infinity in a
    buffer may be meant, as in the mask of an attention.
    """
    spoilt = {name: ~torch.isfinite(local(value)).all() for name, value in model.named_parameters()}
    spoilt |= {
        name: torch.isnan(local(value)).any()
        for name, value in model.named_buffers()
        if value.is_floating_point()
    }
    is_any_here = bool(spoilt) and bool(torch.stack(list(spoilt.values())).any())
    # Of a model that is cut up, one process alone may have the part that is spoilt.
    if any(group.largest(float(is_any_here))):
        name = next((name for name, is_spoilt in spoilt.items() if is_spoilt), "a weight of another process")
        raise DivergedError(f"{name} is no longer finite after epoch {epoch} step {step}", hint=_HINT)
