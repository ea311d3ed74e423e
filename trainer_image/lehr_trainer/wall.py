"""Where the money for a training ends: so many seconds over all its jobs, and then the best that there is.

Seconds are those of processes, from the first line of a job on, as its checkpoints have them: what a lost machine has
done after its last one is not counted, a minute at most. A training that ends at its wall has had one update at least.
One that makes it again ends at the same update, whatever the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Wall:
    """Of one training. `limit_s` is None where nothing but the epochs ends it, `last_update` where no other has."""

    def __init__(
        self,
        limit_s: float | None = None,
        *,
        last_update: int | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`began` is the moment of `clock` from which this job counts; left out, now."""
        self._limit_s, self._last_update, self._clock = limit_s, last_update, clock
        self._began = clock() if began is None else began
        self._before_s = 0.0
        self.ended_at: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether this training may end at a wall."""
        return self._limit_s is not None or self._last_update is not None

    @property
    def is_spent(self) -> bool:
        """Whether its time is over. Several processes have to agree on that, and on `is_last` not."""
        return self._limit_s is not None and self.spent_s >= self._limit_s

    @property
    def spent_s(self) -> float:
        """Seconds of all jobs so far."""
        return self._before_s + self._clock() - self._began

    def is_last(self, update: int) -> bool:
        """Whether the training that is made again had ended after so many updates."""
        return self._last_update is not None and update >= self._last_update

    def verdict(self, epoch: int, epochs: int) -> str:
        """One line of the log on a training that has ended here, in `epoch` of `epochs`."""
        why = f"{self._limit_s:.0f} s are spent" if self._limit_s is not None else "the first training had"
        return f"ended at its wall after update {self.ended_at}, in epoch {epoch} of {epochs}: {why}"

    def state(self) -> dict[str, Any]:
        return {"spent_s": self.spent_s, "ended_at": self.ended_at}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._before_s, self.ended_at = state["spent_s"], state["ended_at"]
