"""What a failed run has cost, as far as the description of a training job in the cause tells it."""

from __future__ import annotations

import re

from lehr import layout
from lehr.contracts.recipe import Recipe
from lehr.contracts.workflow import FailureRequest, TrialResult
from lehr.costs import planned_shards, record_cost, run_cost, trial_costs
from lehr.errors import LehrError
from lehr.ports import ModelRegistry, ObjectStore
from lehr.prices import PriceTable, load_prices

_BEFORE_TRAINING = {"PrepareShards", "SealDataset"}
_INSTANCE = re.compile(r'"InstanceType"\s*:\s*"([a-z0-9.-]+)"')


def record_failed_cost(
    request: FailureRequest,
    job: str,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    prices: PriceTable | None = None,
) -> None:
    """Write cost.json unless PackageModel has. A cost that cannot be worked out is left out, never a second failure.

    The cause speaks of one job: of several trials the others are missing, and the sum is marked as a lower bound.
    """
    if artifacts.exists(layout.cost_key(request.project, request.run)):
        return
    prices = prices or load_prices()
    trials, is_complete = [], request.state in _BEFORE_TRAINING
    if job:
        try:
            recipe = Recipe.from_json(artifacts.get(layout.recipe_key(request.project, request.run)))
            is_complete = len(recipe.trial_settings()) == 1 and recipe.backend.keep_alive_s == 0
        except (LehrError, KeyError):
            return
        found = _INSTANCE.search(request.cause)
        parts = job.rsplit("-", 2)
        result = TrialResult(
            id=parts[1] if len(parts) == 3 else "0", status="Failed", job=job, cause=request.cause
        )
        instance = found[1] if found else recipe.backend.instance_type
        trials = trial_costs(result, instance, prices, instance_count=recipe.backend.instance_count)
    shards = planned_shards(artifacts, request.project, request.run)
    cost = run_cost(request.project, request.run, trials, prices, shards=shards, is_complete=is_complete)
    record_cost(cost, artifacts, registry)
