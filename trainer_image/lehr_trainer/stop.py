"""Being asked to stop: SIGTERM sets a flag, the training loop looks at it after every step.

SageMaker sends SIGTERM and kills two minutes later, when a person stops the job, when its time is up, and when
spot capacity is taken back.
"""

from __future__ import annotations

import signal
from types import FrameType


class StopFlag:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.is_set = False
        self.stopped: TrainingStopped | None = None  # how the training answered

    def listen(self) -> None:
        """Set the flag on SIGTERM. Only the main thread may call this."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.is_set = True


class TrainingStopped(Exception):
    """The answer to a request, not an error: raised once a checkpoint is durable.

    `step` is counted within `epoch`, which counts from 1; `began` and `ended` are updates since the start of the
    training: where this process took it up, and where it left it.
    """

    def __init__(self, epoch: int, step: int, *, began: int = 0, ended: int = 0) -> None:
        self.epoch, self.step, self.began, self.ended = epoch, step, began, ended
        super().__init__(f"stopped at epoch {epoch} step {step}; resumable")
