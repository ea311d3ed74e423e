"""Trials as ProposeTrials records them, for the tests of those who read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from functions.propose_trials.record import record_round
from lehr import layout
from lehr.contracts.sweep import DEFAULT_OBJECTIVE, Proposal, Sweep, TrialRecord
from lehr.contracts.training import Trial
from lehr.contracts.workflow import TrialResult
from lehr.sweeps import best_of
from tests.fakes import InMemoryObjectStore


def record_trials(
    store: InMemoryObjectStore,
    results: list[TrialResult],
    project: str = "mnist",
    run: str = "r1",
    settings: Mapping[str, str] | None = None,
) -> Sweep:
    """Write the sweep.json of one round with these results; the hyperparameter `n` is the trial's id."""
    more = dict(settings or {})
    trials = [Trial(id=one.id, name=one.id, hyperparameters={"n": one.id} | more) for one in results]
    recorded = record_round(Proposal(round=0, trials=trials), results, DEFAULT_OBJECTIVE, store)
    best = best_of(recorded.trials, DEFAULT_OBJECTIVE)
    sweep = Sweep(
        project=project,
        run=run,
        objective=DEFAULT_OBJECTIVE,
        trials=recorded.trials,
        best=best.name if best else "",
    )
    store.put(layout.sweep_key(project, run), sweep.to_json())
    return sweep


def completed_trials(objectives: Sequence[float]) -> list[TrialRecord]:
    """One of each objective; its id is its place."""
    return [
        TrialRecord(
            id=str(number),
            name=str(number),
            round=0,
            point={},
            hyperparameters={},
            status="completed",
            objective=value,
            result=TrialResult(id=str(number), status="Completed", job="j"),
        )
        for number, value in enumerate(objectives)
    ]
