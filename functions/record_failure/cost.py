"""What a failed run has cost, as far as the description of a training job in the cause tells it."""

from __future__ import annotations

import re

from lehr import layout
from lehr.contracts.recipe import Recipe
from lehr.contracts.sweep import Proposal, Sweep
from lehr.contracts.workflow import FailureRequest, TrialResult
from lehr.costs import planned_shards, record_cost, run_cost, trial_costs
from lehr.errors import LehrError
from lehr.ports import ModelRegistry, ObjectStore
from lehr.prices import PriceTable, load_prices
from lehr.sweeps import planned_trainings

_BEFORE_TRAINING = {"PrepareShards", "SealDataset", "PublishTrainer"}
_INSTANCE = re.compile(r'"InstanceType"\s*:\s*"([a-z0-9.-]+)"')


def record_failed_cost(
    request: FailureRequest,
    job: str,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    prices: PriceTable | None = None,
) -> None:
    """Write cost.json unless PackageModel has. A cost that cannot be worked out is left out, never a second failure.

    Where the trials were recorded, all of them count. Else the cause speaks of one job: of several trials the others
    are missing, and the sum is marked as a lower bound, as it is where a round was trained and never recorded.
    """
    if artifacts.exists(layout.cost_key(request.project, request.run)):
        return
    prices = prices or load_prices()
    recorded = _recorded(request, artifacts)
    is_pending = _is_pending(request, recorded, artifacts)
    trials = []
    is_complete = request.state in {*_BEFORE_TRAINING, "ProposeTrials"} and not is_pending
    if job or recorded:
        try:
            recipe = Recipe.from_json(artifacts.get(layout.recipe_key(request.project, request.run)))
            is_complete = not is_pending if recorded else planned_trainings(recipe) == 1
            is_complete = is_complete and recipe.backend.keep_alive_s == 0
        except (LehrError, KeyError):
            return
    if recorded:
        instance, count = recipe.backend.instance_type, recipe.backend.instance_count
        for record in recorded.trials:
            trials += trial_costs(record.result, instance, prices, instance_count=count)
    elif job:
        found = _INSTANCE.search(request.cause)
        parts = job.rsplit("-", 2)
        result = TrialResult(
            id=parts[1] if len(parts) == 3 else "0", status="Failed", job=job, cause=request.cause
        )
        instance = found[1] if found else recipe.backend.instance_type
        trials = trial_costs(result, instance, prices, instance_count=recipe.backend.instance_count)
    shards = planned_shards(artifacts, request.project, request.run)
    cost = run_cost(
        request.project,
        request.run,
        trials,
        prices,
        shards=shards,
        rounds=recorded.rounds if recorded else 1,
        is_complete=is_complete,
    )
    record_cost(cost, artifacts, registry)


def _recorded(request: FailureRequest, artifacts: ObjectStore) -> Sweep | None:
    try:
        return Sweep.from_json(artifacts.get(layout.sweep_key(request.project, request.run)))
    except (LehrError, KeyError):
        return None


def _is_pending(request: FailureRequest, sweep: Sweep | None, artifacts: ObjectStore) -> bool:
    """Whether trials were proposed, and so perhaps trained, of which no record tells."""
    rounds = sweep.rounds if sweep else 0
    try:
        body = artifacts.get(layout.proposal_key(request.project, request.run, rounds))
        return bool(Proposal.from_json(body).trials)
    except KeyError:
        return False
    except LehrError:
        return True
