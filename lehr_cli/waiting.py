"""Why a training job does not train yet: capacity, quota, the pull of an image.

Minutes without a word look like a fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lehr_cli.events import TrainingJobStarted, TrainingWaits
from lehr_cli.target import Target

PATIENCE_S = 15.0
_LOOK_S = 5.0


class TrainingWait:
    """One job from its start to its first epoch. Its backend is asked rarely, and quoted when it says something new."""

    def __init__(
        self, target: Target, started: TrainingJobStarted, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target, self._started, self._clock = target, started, clock
        self._since = clock()
        self._next_look = self._since + PATIENCE_S
        self._is_over = False
        self._last = ("", "")

    def end(self) -> None:
        """It trains, or it has ended: there is nothing to explain any more."""
        self._is_over = True

    def new_reason(self) -> Iterator[TrainingWaits]:
        now = self._clock()
        if self._is_over or now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        try:
            reason = backend_says(self._target, self._started)
        except (ClientError, BotoCoreError):
            # The reason is a comfort, no part of the run: watching goes on without it.
            return
        if reason != self._last and reason[0]:
            self._last = reason
            waited = round(now - self._since, 1)
            yield TrainingWaits(job=self._started.job, status=reason[0], message=reason[1], seconds=waited)


def backend_says(target: Target, started: TrainingJobStarted) -> tuple[str, str]:
    """Status and message of a job, in its backend's words; empty for one that it does not know."""
    return _batch(target, started) if started.backend == "batch" else _sagemaker(target, started)


def _sagemaker(target: Target, started: TrainingJobStarted) -> tuple[str, str]:
    job = target.client("sagemaker").describe_training_job(TrainingJobName=started.job)
    transitions: list[dict[str, Any]] = job.get("SecondaryStatusTransitions") or [{}]
    return str(job.get("SecondaryStatus", "")), str(transitions[-1].get("StatusMessage", ""))


def _batch(target: Target, started: TrainingJobStarted) -> tuple[str, str]:
    jobs = target.client("batch").describe_jobs(jobs=[started.handle])["jobs"]
    if not jobs:
        return "", ""
    status, reason = str(jobs[0]["status"]), str(jobs[0].get("statusReason", ""))
    if status == "RUNNABLE" and not reason:
        reason = "waiting for a machine: quota, capacity or the limits of the compute environment"
    return status, reason
