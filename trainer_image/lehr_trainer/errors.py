"""The trainer's errors. They end as one sentence in `output/failure`, which a person reads.

    LehrError
    ├── UserError
    │   ├── JobInputError     a channel, file, hyperparameter or variable of the job is absent or wrong
    │   ├── ModelCodeError    the project's factory cannot be found, or gives something that is no classifier
    │   ├── HookError         a hook of the project cannot be found, fails, or gives what it should not
    │   ├── InitialWeightsError  the weights to start from do not fit the model
    │   ├── DivergedError     the loss or a weight is no longer finite, or the loss has exploded
    │   └── TooLittleMemoryError   memory does not suffice, nor for half the rows at a time
    ├── HangError             training gave no sign of life for too long
    ├── ProcessFailedError    one of several processes was killed, or ended without a reason of its own
    ├── ExportError           torch cannot express the model as an ONNX graph
    └── ExportParityError     the ONNX graph does not compute what the trained module computes

An error raised inside the project's own model code is not wrapped: `failure.py` finds the line.
"""

from __future__ import annotations

from lehr.errors import LehrError, UserError


class JobInputError(UserError):
    """Raised when what the job was given cannot be trained on."""


class ModelCodeError(UserError):
    """Raised when `model.factory` does not name a function that builds a classifier."""


class HookError(UserError):
    """Raised when a function that [hooks] names is absent, fails, or gives something of another type or shape."""


class InitialWeightsError(UserError):
    """Raised when the parameters of the model version to start from are not those of the model."""


class DivergedError(UserError):
    """Raised when the loss became infinite, not a number, or much greater than it was, or a weight not finite."""


class TooLittleMemoryError(UserError):
    """Raised when a training ran out of memory, and again with smaller parts, or where they cannot help."""


class HangError(LehrError):
    """Raised in the main thread, wherever it is, when no update came for so long that none will.

    The line that it was raised at is what a person needs, so it is no UserError, whose message says all.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")


class ProcessFailedError(LehrError):
    """Raised in the process that launched the others. `was_killed`: by a signal, so that it could leave no reason."""

    def __init__(self, message: str, *, was_killed: bool = False) -> None:
        super().__init__(message)
        self.was_killed = was_killed


class ExportError(LehrError):
    """Raised when the trained module has no ONNX form."""


class ExportParityError(LehrError):
    """Raised when the exported graph's outputs are not the trained module's."""
