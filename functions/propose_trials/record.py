"""What came of the trials of a round: read from the models that they left, or from the causes of their failures."""

from __future__ import annotations

import json
import math

import msgspec

from lehr.contracts.package import TRAINING_FILE
from lehr.contracts.sweep import Objective, Proposal, RoundResult, TrialRecord
from lehr.contracts.training import TrainingSummary, Trial
from lehr.contracts.workflow import TrialResult
from lehr.errors import ContractError, ModelPackageError
from lehr.model_archive import fetch_archive
from lehr.ports import ObjectStore

MAX_REASON = 300
# The rest of a cause is in the training log; all trials share one document.
MAX_CAUSE = 4000


def record_round(
    proposal: Proposal, results: list[TrialResult], objective: Objective, artifacts: ObjectStore
) -> RoundResult:
    """One record for each proposed trial. A trial that says nothing of itself has failed."""
    by_id = {result.id: result for result in results}
    return RoundResult(
        round=proposal.round,
        trials=[
            _record(trial, by_id.get(trial.id), proposal.round, objective, artifacts)
            for trial in proposal.trials
        ],
    )


def _record(
    trial: Trial, result: TrialResult | None, number: int, objective: Objective, artifacts: ObjectStore
) -> TrialRecord:
    reason, parameters = "", 0
    value: float | None = None
    curve: tuple[float, ...] = ()
    if result is None:
        result = TrialResult(id=trial.id, status="Failed", job="", error="States.TaskFailed")
        reason = "the trial left no result"
    elif result.status == "Failed":
        reason = reason_of(result)
    else:
        try:
            summary = _summary(result, artifacts)
            value, curve = _objective(summary, objective), tuple(_curve(summary, objective))
            parameters = summary.parameters
        except (ModelPackageError, ContractError) as fault:
            reason = str(fault)
    return TrialRecord(
        id=trial.id,
        name=trial.name,
        round=number,
        rung=trial.rung,
        point=trial.point,
        hyperparameters=trial.hyperparameters,
        status="failed" if value is None else "completed",
        objective=value,
        curve=curve,
        parameters=parameters,
        reason=reason[:MAX_REASON],
        result=msgspec.structs.replace(result, cause=result.cause[:MAX_CAUSE]),
    )


def _summary(result: TrialResult, artifacts: ObjectStore) -> TrainingSummary:
    """Of the trial's own archive, and of no other file of it. Raises ModelPackageError or ContractError."""
    files = fetch_archive(result, artifacts, names=(TRAINING_FILE,))
    summary = TrainingSummary.from_json(files[TRAINING_FILE])
    if not summary.epochs:
        raise ModelPackageError(f"trial {result.id}: its {TRAINING_FILE} tells of no epoch")
    return summary


def _objective(summary: TrainingSummary, objective: Objective) -> float:
    figures = summary.figures()
    if figures.split == "train" and any(epoch.validation_loss is not None for epoch in summary.epochs):
        raise ModelPackageError("its loss on the held-out rows is not finite")
    value = {
        "validation_loss": figures.loss,
        "validation_accuracy": figures.accuracy,
        "validation_mean_iou": figures.mean_iou,
        "validation_map50": figures.map50,
    }[objective]
    if value is None or not math.isfinite(value):
        raise ModelPackageError(f"its {objective} is {value}")
    return value


def _curve(summary: TrainingSummary, objective: Objective) -> list[float]:
    """One value for each epoch: of the held-out rows, where there are any."""
    held_out = [getattr(epoch, objective) for epoch in summary.epochs]
    if None not in held_out:
        return held_out
    return [getattr(epoch, objective.removeprefix("validation_")) for epoch in summary.epochs]


def reason_of(result: TrialResult) -> str:
    """A sentence out of a cause, which is mostly the description of a job in JSON."""
    try:
        told = json.loads(result.cause)
    except ValueError:
        return result.cause or result.error
    if not isinstance(told, dict):
        return result.cause
    return str(told.get("FailureReason") or told.get("StatusReason") or result.error)
