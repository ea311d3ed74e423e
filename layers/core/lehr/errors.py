"""Every error Lehr raises, and when.

The class names are an API: Step Functions matches `ErrorEquals` on them, and a test compares this
tree with the state machine.

    LehrError
    ├── ConfigurationError        a function's environment lacks a variable
    ├── UserError                 a person can put it right; the message says where and how
    │   ├── RecipeError           lehr.toml is unreadable, has an unknown key or a bad value
    │   ├── UnknownProjectError   no project of that name was pushed
    │   ├── DataError             the raw data cannot be trained on
    │   │   ├── MissingDataError      a file named by the recipe is not there
    │   │   ├── MalformedDataError    a file is truncated or not of its format
    │   │   ├── MismatchedDataError   two files disagree, as images and labels of different count
    │   │   ├── InsufficientDataError a split or a class has no examples
    │   │   ├── ChangedDataError      a file was overwritten while the run was reading it
    │   │   └── RejectedDataError     a check of [checks] whose policy is "reject" has failed
    │   ├── MissingKeyError       a recipe hashes a column, and the stack has no key to do it with
    │   ├── UnknownPriceError     an instance type is not in the price table
    │   ├── BudgetError           a run could cost more than its recipe allows
    │   └── RetrainError          a run that would start by itself is not wanted, or comes too soon
    ├── ContractError             a document that crossed a process boundary does not fit its type
    ├── ModelPackageError         a model package is incomplete, too large, or its bytes are not its sha256
    ├── NoCompletedTrialError     every trial of a run failed
    ├── NoChampionError           a project has no model to serve yet
    ├── OverwriteError            a file that is written once is there already, with other bytes
    ├── OrphanError               a training job has outlived its execution and could not be stopped
    ├── EventError                the event bus did not take an event
    ├── WatchError                the predictions of a project could not be compared with its data
    ├── MirrorError               another registry could not be told what Lehr's says
    └── ChampionChangedError      another run promoted first; judge again against the new champion
"""

from __future__ import annotations

MAX_REASON_CHARACTERS = 4_000


class LehrError(Exception):
    """The root: everything Lehr raises on purpose."""


class ConfigurationError(LehrError):
    """Raised when a function starts without a variable its template should have set."""


class UserError(LehrError):
    """Raised for what a person can put right: `place` says where, `hint` says how.

    What is quoted of a file may be of any length, and a reason has to fit a registry's item and a state's output: what
    is longer than MAX_REASON_CHARACTERS is cut in its middle.
    """

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        self.message, self.place, self.hint = _clipped(message), _clipped(place), _clipped(hint)
        place, message, hint = self.place, self.message, self.hint
        super().__init__(
            ": ".join(part for part in (place, message) if part) + (f" ({hint})" if hint else "")
        )


class RecipeError(UserError):
    """Raised when lehr.toml cannot be read as a recipe."""


class UnknownProjectError(UserError):
    """Raised when data arrives for a project that nobody has pushed."""


class DataError(UserError):
    """Raised when raw data cannot be trained on."""


class MissingDataError(DataError):
    """Raised when a file that the recipe names is absent."""


class MalformedDataError(DataError):
    """Raised when a file is truncated, or not of the format that the recipe says."""


class MismatchedDataError(DataError):
    """Raised when two files that belong together disagree."""


class InsufficientDataError(DataError):
    """Raised when a split is empty or a label has no training example."""


class ChangedDataError(DataError):
    """Raised when a raw object is no longer the one that the run was planned with."""


class RejectedDataError(DataError):
    """Raised when data fails a check that the recipe says to reject it for."""


class MissingKeyError(UserError):
    """Raised when values are to be hashed and there is no key: without one anybody could guess them."""


class UnknownPriceError(UserError):
    """Raised when a cost is asked for and the price table has no such instance type."""


class BudgetError(UserError):
    """Raised before anything is started, when the worst case of a run exceeds [budget]."""


class RetrainError(UserError):
    """Raised when [retrain] of the recipe speaks against a run that nobody asked for."""


class ContractError(LehrError):
    """Raised when a document does not fit the type that its reader expects."""


class ModelPackageError(LehrError):
    """Raised when a model package must not be loaded."""


class NoCompletedTrialError(LehrError):
    """Raised when no trial of a run has produced a model."""


class NoChampionError(LehrError):
    """Raised when a prediction is asked of a project that has no champion yet."""


class OverwriteError(LehrError):
    """Raised when an object that must never change would be given other bytes."""


class OrphanError(LehrError):
    """Raised when a job whose execution has ended goes on because stopping it was refused."""


class EventError(LehrError):
    """Raised when EventBridge answers that it has not taken an event."""


class WatchError(LehrError):
    """Raised at the end of a look that failed for a project, after the others were looked at."""


class MirrorError(LehrError):
    """Raised when SageMaker's model registry could not be made to say what Lehr's says."""


class ChampionChangedError(LehrError):
    """Raised when the alias moved between judging and promoting."""


def _clipped(text: str) -> str:
    """All of it, or its beginning and its end."""
    if len(text) <= MAX_REASON_CHARACTERS:
        return text
    half = MAX_REASON_CHARACTERS // 2
    return f"{text[:half]} … {text[-half:]}"
