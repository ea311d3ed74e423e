"""What a run could cost at worst, held against [budget] of its recipe, and where its training is to stop."""

from __future__ import annotations

from dataclasses import dataclass

from lehr.clock import now
from lehr.contracts.recipe import Recipe
from lehr.costs import month_to_date
from lehr.errors import BudgetError, UnknownPriceError
from lehr.estimates import allowed_runtime_s, arithmetic, estimate_run, training_wall_s
from lehr.ports import EVERY_RUN, ModelRegistry
from lehr.prices import PriceTable, load_prices


def check_budget(
    recipe: Recipe,
    registry: ModelRegistry,
    *,
    shards: int,
    function_memory_mb: int = 0,
    prices: PriceTable | None = None,
    at: str | None = None,
) -> float | None:
    """The worst case of a run in USD; None if the recipe sets no limit and the instance type has no price.

    Raises BudgetError with the sum and the way out, UnknownPriceError if a limit cannot be held against anything.
    """
    prices, budget = prices or load_prices(), recipe.budget
    limits = (budget.max_usd_per_run, budget.max_usd_per_month, budget.stop_at_usd)
    has_limit = any(limit is not None for limit in limits)
    try:
        estimate = estimate_run(recipe, prices, shards=shards, function_memory_mb=function_memory_mb)
    except UnknownPriceError:
        if has_limit:
            raise
        return None
    worst, basis = estimate.total_usd, f"{arithmetic(estimate)}, {prices.origin()}"
    if budget.max_usd_per_run is not None and worst > budget.max_usd_per_run:
        raise BudgetError(
            f"the run could cost {worst:.2f} USD, over max_usd_per_run = {budget.max_usd_per_run:g} ({basis})",
            place="[budget]",
            hint="lower backend.max_runtime_s, take fewer trials or a smaller instance, or raise the budget",
        )
    if budget.max_usd_per_month is not None:
        month = (at or now())[:7]
        spent = month_to_date(registry.runs(recipe.project.name, limit=EVERY_RUN), month)
        if spent + worst > budget.max_usd_per_month:
            raise BudgetError(
                f"the run could cost {worst:.2f} USD; with {spent:.2f} USD of this month ({month}) that is "
                f"{spent + worst:.2f}, over max_usd_per_month = {budget.max_usd_per_month:g} ({basis})",
                place="[budget]",
                hint="wait for the next month, make the run smaller, or raise the budget",
            )
    return worst


@dataclass(frozen=True)
class Wall:
    """For how long each trial may train, 0 for as long as its job may, and the limit of a job; in seconds."""

    wall_s: int
    max_runtime_s: int


def find_wall(recipe: Recipe, *, shards: int, function_memory_mb: int = 0) -> Wall:
    """Where [budget] stop_at_usd puts it. Raises BudgetError where it leaves no time to train, UnknownPriceError."""
    wall_s = training_wall_s(recipe, load_prices(), shards=shards, function_memory_mb=function_memory_mb)
    return Wall(wall_s or 0, allowed_runtime_s(recipe.backend, wall_s))
