"""What a run may cost: its worst case, and the wall at which its training stops, both from its recipe and a price list.

The wall is USD turned into seconds for each trial, at the price of the dearest attempt: capacity that costs less buys
no more time. The trainer holds it, over all attempts at a trial (lehr_trainer.wall), and ends with the best that it
has. So that it does hold, the job itself has a limit a little behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lehr.attempts import attempts_of
from lehr.contracts.cost import AttemptEstimate, RunEstimate
from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Backend
from lehr.costs import ASSUMED_SHARE, functions_usd, rounded
from lehr.errors import BudgetError
from lehr.prices import PriceTable
from lehr.sweeps import planned_rounds, planned_trainings, planned_trials

# A job is billed from before the trainer's first line to after its last: data comes, the model is exported and goes.
# So much of a trial's share of the money is not trained for.
AROUND_TRAINING_S = 180
MIN_WALL_S = 60
# The job's own limit behind the wall, for a validation, an export and a quantisation that take long.
BEHIND_WALL_S = 1800
# Of a canary that bakes for its whole time; see functions/watch_canary.
CANARY_LOOKS = 34
_HOURS_PER_MONTH = 730


def estimate_run(
    recipe: Recipe, prices: PriceTable, *, shards: int, function_memory_mb: int = 0
) -> RunEstimate:
    """The worst case of a run of this recipe, in USD; `function_memory_mb` as for `attempts_of`.

    Raises UnknownPriceError, and BudgetError as `training_wall_s`.
    """
    backend, trials = recipe.backend, planned_trainings(recipe)
    attempts = list(_attempts(backend, prices, function_memory_mb))
    wall_s = training_wall_s(recipe, prices, shards=shards, function_memory_mb=function_memory_mb)
    runtime_s = allowed_runtime_s(backend, wall_s)
    trial = runtime_s / 3600 * sum(_hour_usd(backend, attempt, prices) for attempt in attempts)
    warm_pool = _warm_pool_usd(backend, attempts, prices)
    functions = _functions_usd(recipe, prices, shards)
    return RunEstimate(
        project=recipe.project.name,
        trials=trials,
        attempts=attempts,
        instance_count=backend.instance_count,
        max_runtime_s=runtime_s,
        shards=shards,
        trial_usd=rounded(trial),
        training_usd=rounded(trial * trials),
        warm_pool_usd=rounded(warm_pool * trials),
        functions_usd=functions,
        total_usd=rounded((trial + warm_pool) * trials + functions),
        price_date=prices.as_of,
        price_region=prices.region,
    )


def training_wall_s(
    recipe: Recipe, prices: PriceTable, *, shards: int = 0, function_memory_mb: int = 0
) -> int | None:
    """For how many seconds each trial may train until [budget] stop_at_usd is spent; None without that.

    The functions are counted as they are after a run, by assumed times.

    Raises BudgetError where that is less than MIN_WALL_S, UnknownPriceError.
    """
    limit, backend, trials = recipe.budget.stop_at_usd, recipe.backend, planned_trials(recipe)
    if limit is None:
        return None
    attempts = list(_attempts(backend, prices, function_memory_mb))
    functions = _functions_usd(recipe, prices, shards, share=ASSUMED_SHARE)
    around = functions + trials * _warm_pool_usd(backend, attempts, prices)
    hour = max(_hour_usd(backend, attempt, prices) for attempt in attempts)
    seconds = int((limit - around) / trials / hour * 3600) - AROUND_TRAINING_S
    if seconds < MIN_WALL_S:
        least = around + trials * hour * (MIN_WALL_S + AROUND_TRAINING_S) / 3600
        raise BudgetError(
            f"stop_at_usd = {limit:g} buys {max(seconds, 0)} s of training for each of {trials} trial(s), "
            f"after {around:.2f} USD for what is around it and {AROUND_TRAINING_S} s of each job to start and to end",
            place="[budget]",
            hint=f"{least:.2f} USD would buy {MIN_WALL_S} s; or take fewer trials or a smaller instance",
        )
    return seconds


def allowed_runtime_s(backend: Backend, wall_s: int | None) -> int:
    """The limit of a training job: the recipe's, or a little behind its wall if that is less."""
    limit = backend.max_runtime_s
    return limit if wall_s is None else min(limit, wall_s + BEHIND_WALL_S)


def _hour_usd(backend: Backend, attempt: AttemptEstimate, prices: PriceTable) -> float:
    """Of all instances with their volumes. A function is one, and its storage is in its price."""
    if attempt.backend == "lambda":
        return attempt.hour_usd
    volume = prices.volume_gb_month * backend.volume_gb / _HOURS_PER_MONTH
    return (attempt.hour_usd + volume) * backend.instance_count


def _warm_pool_usd(backend: Backend, attempts: Sequence[AttemptEstimate], prices: PriceTable) -> float:
    """Of one trial whose pools nobody comes for."""
    return sum(attempt.keep_alive_s / 3600 * _hour_usd(backend, attempt, prices) for attempt in attempts)


def _functions_usd(recipe: Recipe, prices: PriceTable, shards: int, *, share: float = 1.0) -> float:
    looks = 0 if recipe.rollout.strategy == "immediate" else CANARY_LOOKS
    return functions_usd(prices, shards=shards, rounds=planned_rounds(recipe), looks=looks, share=share)


def _attempts(backend: Backend, prices: PriceTable, function_memory_mb: int) -> Iterator[AttemptEstimate]:
    """Each at its dearest instance type. Batch is taken to use EC2's machine of the same name."""
    for attempt in attempts_of(backend, function_memory_mb=function_memory_mb):
        is_batch = attempt.backend == "batch"
        names = [name.removeprefix("ml.") if is_batch else name for name in attempt.instance_types]
        hour, name = max((prices.hour(name), name) for name in names)
        yield AttemptEstimate(
            backend=attempt.backend,
            spot=attempt.spot,
            instance_type=name,
            hour_usd=rounded(hour * prices.spot_share) if attempt.spot else hour,
            keep_alive_s=attempt.keep_alive_s,
        )


def arithmetic(estimate: RunEstimate) -> str:
    """The estimate as one line that a person can check."""
    several = f"{estimate.instance_count} x " if estimate.instance_count > 1 else ""
    attempts = " + ".join(
        f"{'' if attempt.backend == 'lambda' else several}{attempt.hour_usd:g} USD of {attempt.instance_type}"
        f"{' spot' if attempt.spot else ''}"
        for attempt in estimate.attempts
    )
    hours = estimate.max_runtime_s / 3600
    pool = f", {estimate.warm_pool_usd:.2f} USD of warm pools" if estimate.warm_pool_usd else ""
    trials = f"{estimate.trials} trial(s) x {hours:g} h x ({attempts})"
    return f"{trials}{pool}, and {estimate.functions_usd:.2f} USD of functions"
