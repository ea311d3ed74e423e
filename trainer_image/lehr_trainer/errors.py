"""The trainer's errors. They end as one sentence in `output/failure`, which a person reads.

    LehrError
    ├── UserError
    │   ├── JobInputError     a channel, file, hyperparameter or variable of the job is absent or wrong
    │   ├── ModelCodeError    the project's factory cannot be found, or gives something that is no classifier
    │   └── DivergedError     the loss is no longer finite
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


class DivergedError(UserError):
    """Raised when the loss became infinite or not a number."""


class ProcessFailedError(LehrError):
    """Raised in the process that launched the others. `was_killed`: by a signal, so that it could leave no reason."""

    def __init__(self, message: str, *, was_killed: bool = False) -> None:
        super().__init__(message)
        self.was_killed = was_killed


class ExportError(LehrError):
    """Raised when the trained module has no ONNX form."""


class ExportParityError(LehrError):
    """Raised when the exported graph's outputs are not the trained module's."""
