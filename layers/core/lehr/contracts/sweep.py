"""What is written about the trials of a run, under runs/<project>/<run>/sweep/.

round-00000.json    Proposal: the trials of a round, before they are trained; written once
result-00000.json   RoundResult: what came of them; written once
sweep.json          Sweep: all trials side by side, and the best
"""

from __future__ import annotations

from typing import Any, Literal

from lehr.contracts.document import Document, Part
from lehr.contracts.training import Trial
from lehr.contracts.workflow import TrialResult

Objective = Literal["validation_loss", "validation_accuracy", "validation_mean_iou", "validation_map50"]
DEFAULT_OBJECTIVE: Objective = "validation_accuracy"


class Proposal(Document, frozen=True, kw_only=True):
    """The trials of one round."""

    schema: Literal[1] = 1
    round: int
    trials: list[Trial]


class TrialRecord(Part, frozen=True, kw_only=True):
    """One training of a trial and what it reached.

    `objective` is that of the exported weights, None if it failed; `curve` has one value for each epoch seen so far,
    those of earlier rungs among them. Where no rows are held out, both are of the training rows. A failure that is
    superseded was tried again when its run was resumed: it was billed, and counts for nothing else.
    """

    id: str
    name: str
    round: int
    rung: int = 0
    point: dict[str, Any]
    hyperparameters: dict[str, str]
    status: Literal["completed", "failed"]
    objective: float | None = None
    curve: tuple[float, ...] = ()
    parameters: int = 0
    reason: str = ""
    is_superseded: bool = False
    result: TrialResult


class RoundResult(Document, frozen=True, kw_only=True):
    """What came of the trials of one round."""

    schema: Literal[1] = 1
    round: int
    trials: list[TrialRecord]


class Sweep(Document, frozen=True, kw_only=True):
    """`sweep.json`: every training of a run, in order; `best` is the name of the one that goes on, "" if none can."""

    schema: Literal[1] = 1
    project: str
    run: str
    search: str = ""
    objective: Objective
    rungs: tuple[int, ...] = ()
    trials: list[TrialRecord]
    best: str = ""

    @property
    def count(self) -> int:
        """How many trials there were, however many rungs each has climbed."""
        return len({record.id for record in self.trials})

    @property
    def rounds(self) -> int:
        """In how many rounds they were trained."""
        return 1 + max((record.round for record in self.trials), default=-1)

    def record(self, name: str) -> TrialRecord:
        """The last training of that name. Raises KeyError."""
        for one in reversed(self.trials):
            if one.name == name:
                return one
        raise KeyError(name)

    def last(self) -> list[TrialRecord]:
        """The last training of each trial, in the order of their ids."""
        last = {record.id: record for record in sorted(self.trials, key=lambda record: record.rung)}
        return sorted(last.values(), key=lambda record: int(record.id))
