"""What can be seen of a run, as plain values: the lines of `--json`, and what the terminal view draws."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from lehr.contracts.evaluation import Decision

_EVENT_NAME = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """The base: its name on the wire is the class's, in snake case."""

    def to_line(self) -> dict[str, Any]:
        return {"event": _EVENT_NAME.sub("_", type(self).__name__).lower()} | asdict(self)


@dataclass(frozen=True, kw_only=True)
class StateEntered(RunEvent):
    state: str
    at: str


@dataclass(frozen=True, kw_only=True)
class StateExited(RunEvent):
    """`has_failed`: an error took it to another state, or every item of a Map failed."""

    state: str
    at: str
    seconds: float
    has_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class MapProgress(RunEvent):
    """`of` is None while nobody knows the number of items."""

    state: str
    done: int
    failed: int = 0
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class MapRunStarted(RunEvent):
    """A distributed Map: its items are executions of their own, counted by its map run."""

    state: str
    map_run_arn: str


@dataclass(frozen=True, kw_only=True)
class TrainingJobStarted(RunEvent):
    """`handle` is the id by which Batch knows a job; SageMaker goes by its name."""

    job: str
    backend: str = "sagemaker"
    handle: str = ""


@dataclass(frozen=True, kw_only=True)
class SliceEnded(RunEvent):
    """A function has trained for a while: `update` is that of its checkpoint, `seconds` those of all slices so far."""

    job: str
    status: str
    slice: int
    update: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class TrainingWaits(RunEvent):
    """A job that has no epoch after `seconds`: what its backend says about it, in the backend's words."""

    job: str
    status: str
    message: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Epoch(RunEvent):
    """One line of a training log: losses in nats, accuracies in [0, 1]."""

    job: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    validation_rmse: float | None = None
    validation_mae: float | None = None
    validation_mean_iou: float | None = None
    validation_map50: float | None = None
    samples_per_second: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Decided(RunEvent):
    decision: Decision

    def to_line(self) -> dict[str, Any]:
        return {"event": "decided"} | self.decision.to_value()


@dataclass(frozen=True, kw_only=True)
class RunResumed(RunEvent):
    """The run goes on in another execution, the `number`-th resume, `waited_s` after the end of the one before.

    That one has `ended` as Step Functions says, after `seconds`; both are unknown ("" and None) where its history is
    gone, and so is `waited_s`.
    """

    number: int
    at: str
    ended: str = ""
    seconds: float | None = None
    waited_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutionEnded(RunEvent):
    """`status` is Step Functions' own: SUCCEEDED, FAILED, ABORTED or TIMED_OUT."""

    status: str
    seconds: float
    error: str = ""
    cause: str = ""
