"""The spot instance of one training job: taken away on request, given back after a while, waited for only so long.

docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html: a job with EnableManagedSpotTraining is
Interrupted and starts again from its checkpoints; MaxRuntimeInSeconds counts its training, MaxWaitTimeInSeconds all
the time from its creation.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

_DEFAULT_RUNTIME_S = 86_400


class SpotCapacity:
    """Keeps the two clocks of a job and whether its instance is gone. `request` is CreateTrainingJob's."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        condition = request["StoppingCondition"]
        self.is_spot = bool(request.get("EnableManagedSpotTraining"))
        self._runtime_limit_s = float(condition.get("MaxRuntimeInSeconds") or _DEFAULT_RUNTIME_S)
        self._wait_deadline = math.inf
        if self.is_spot:
            self._wait_deadline = time.monotonic() + float(condition["MaxWaitTimeInSeconds"])
        self._used_s = 0.0
        self._begun: float | None = None
        self._gone_for_s: float | None = None

    @property
    def is_gone(self) -> bool:
        return self._gone_for_s is not None

    @property
    def used_s(self) -> float:
        """Seconds on an instance: what is billed."""
        running_s = 0.0 if self._begun is None else time.monotonic() - self._begun
        return self._used_s + running_s

    def begin(self) -> None:
        """The job has got an instance."""
        self._begun = time.monotonic()
        self._gone_for_s = None

    def end(self) -> None:
        """The job has left its instance."""
        self._used_s, self._begun = self.used_s, None

    def take_away(self, gone_for_s: float) -> None:
        self._gone_for_s = gone_for_s

    def deadline(self) -> tuple[float, str]:
        """When the job has to be stopped, on the monotonic clock, and the status that it then ends with."""
        begun = time.monotonic() if self._begun is None else self._begun
        runtime_ends = begun + self._runtime_limit_s - self._used_s
        if self._wait_deadline < runtime_ends:
            return self._wait_deadline, "MaxWaitTimeExceeded"
        return runtime_ends, "MaxRuntimeExceeded"

    def wait(self, is_stopping: threading.Event) -> str | None:
        """Wait for another instance; the status with which the job ends if none comes."""
        left_s = self._wait_deadline - time.monotonic()
        gone_for_s = self._gone_for_s or 0.0
        if is_stopping.wait(max(min(gone_for_s, left_s), 0.0)):
            return "Stopped"
        return "MaxWaitTimeExceeded" if gone_for_s >= left_s else None
