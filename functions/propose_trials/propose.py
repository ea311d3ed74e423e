"""From the recipe and the trials recorded so far to the trials of the next round.

Nothing is remembered between calls: the rounds lie in S3, each written once, so that a call that is made again gives
the same answer, also when the sampler would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from functions.propose_trials.record import record_round
from lehr import layout
from lehr.contracts.recipe import Recipe
from lehr.contracts.rungs import rungs_of
from lehr.contracts.search_space import Point
from lehr.contracts.sweep import Proposal, RoundResult, Sweep, TrialRecord
from lehr.contracts.workflow import ProposedTrials, ProposeRequest
from lehr.errors import ContractError, OverwriteError
from lehr.ports import ObjectStore
from lehr.sweeps import best_of, has_failed, next_trials, objective_of, planned_trials


def propose(request: ProposeRequest, artifacts: ObjectStore) -> ProposedTrials:
    """Record round `round - 1`, then propose `round`. Raises ContractError if the rounds before it are not there."""
    project, run = request.project, request.run
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(project, run)))
    records: list[TrialRecord] = []
    for number in range(request.round):
        records += _recorded(request, number, recipe, artifacts).trials
    if request.round:
        _write_sweep(request, recipe, records, artifacts)
    records = [record for record in records if not record.is_superseded]
    if has_failed(recipe, records, is_over=False):
        return _failed(request, records)
    proposal = _proposed(request, recipe, records, artifacts)
    if proposal.trials:
        return ProposedTrials(verdict="train", trials=proposal.trials)
    if has_failed(recipe, records, is_over=True):
        return _failed(request, records)
    return ProposedTrials(verdict="complete", trials=[])


def _recorded(request: ProposeRequest, number: int, recipe: Recipe, artifacts: ObjectStore) -> RoundResult:
    key = layout.round_result_key(request.project, request.run, number)
    try:
        return RoundResult.from_json(artifacts.get(key))
    except KeyError as fault:
        if number != request.round - 1:
            raise ContractError(f"round {number} was never recorded: {artifacts.uri(key)}") from fault
    proposal = Proposal.from_json(artifacts.get(layout.proposal_key(request.project, request.run, number)))
    result = record_round(proposal, request.results, objective_of(recipe), artifacts)
    _put_once(artifacts, key, result.to_json())
    return RoundResult.from_json(artifacts.get(key))


def _proposed(
    request: ProposeRequest, recipe: Recipe, records: Sequence[TrialRecord], artifacts: ObjectStore
) -> Proposal:
    key = layout.proposal_key(request.project, request.run, request.round)
    if not artifacts.exists(key):
        ask = partial(_ask, recipe)
        proposal = Proposal(
            round=request.round, trials=next_trials(recipe, records, ask, wall_s=request.wall_s or None)
        )
        _put_once(artifacts, key, proposal.to_json())
    return Proposal.from_json(artifacts.get(key))


def _ask(recipe: Recipe, records: Sequence[TrialRecord], count: int) -> list[Point]:
    # Optuna takes a third of a second to import, and most runs have no use for it.
    from functions.propose_trials.tpe import ask

    return ask(recipe, records, count)


def _put_once(artifacts: ObjectStore, key: str, body: bytes) -> None:
    """Another call may have been first: what it wrote holds."""
    try:
        artifacts.put_once(key, body, content_type="application/json")
    except OverwriteError:
        return


def _write_sweep(
    request: ProposeRequest, recipe: Recipe, records: list[TrialRecord], artifacts: ObjectStore
) -> None:
    best = best_of(records, objective_of(recipe))
    sweep = Sweep(
        project=request.project,
        run=request.run,
        search=recipe.trials.search or "",
        objective=objective_of(recipe),
        rungs=tuple(rung.epochs for rung in rungs_of(recipe, planned_trials(recipe))),
        trials=records,
        best=best.name if best else "",
    )
    key = layout.sweep_key(request.project, request.run)
    artifacts.put(key, sweep.to_json(), content_type="application/json")


def _failed(request: ProposeRequest, records: Sequence[TrialRecord]) -> ProposedTrials:
    """The failure of a trial of the last round, in full where Step Functions has told of it."""
    causes = [result for result in request.results if result.status == "Failed"]
    failed = [record for record in records if record.status == "failed"]
    if causes:
        error, cause = causes[0].error, causes[0].cause
    else:
        error, cause = "ModelPackageError", failed[-1].reason if failed else "no trial completed"
    return ProposedTrials(verdict="failed", trials=[], error=error or "States.TaskFailed", cause=cause)
