"""Runs that start by themselves: does the recipe want one, is it too soon, is it worth it, can it be afforded.

A person who trains, and data that is dropped, are never asked. Whatever else is seen, and however often, leads to one
run within a cooldown.
"""

from __future__ import annotations

from datetime import timedelta

from lehr.clock import moment, now
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord, StartCause
from lehr.costs import month_to_date
from lehr.errors import BudgetError, RetrainError
from lehr.ports import EVERY_RUN, ModelRegistry, ObjectStore
from lehr.retraining import weigh_retraining


def refuse_unwanted(
    recipe: Recipe, cause: StartCause, registry: ModelRegistry, *, goes_on: str = "", at: str | None = None
) -> None:
    """Raise RetrainError if the recipe wants no run for this cause, or one `goes_on`, or if drift is seen too soon
    after the last one. A schedule is its own cooldown, and waits for the run that goes on.
    """
    if not cause:
        return
    wanted = recipe.retrain
    if cause == "drift" and not wanted.on_drift:
        raise RetrainError(
            "the endpoint's inputs have drifted, and the recipe starts no run for that",
            place="[retrain]",
            hint="drop newer data, or say on_drift = true",
        )
    if cause == "schedule":
        return
    if goes_on:
        raise RetrainError(
            f"run {goes_on} goes on", place="[retrain]", hint="the next look will show what is left to do"
        )
    latest = next(iter(registry.runs(recipe.project.name, limit=1)), None)
    if latest is None:
        return
    next_at = moment(latest.started_at) + timedelta(hours=wanted.cooldown_h)
    if next_at > moment(at or now()):
        raise RetrainError(
            f"the last run started at {latest.started_at}: none starts by itself before "
            f"{next_at.isoformat(timespec='seconds')} (cooldown_h = {wanted.cooldown_h})",
            place="[retrain]",
            hint="start one yourself: lehr train",
        )


def weigh(
    recipe: Recipe,
    cause: StartCause,
    registry: ModelRegistry,
    artifacts: ObjectStore,
    *,
    raw_bytes: int,
    at: str | None = None,
) -> str:
    """What speaks for a run, in words; empty where nobody asks. Raises RetrainError for one that is not worth it."""
    if not cause or recipe.retrain.max_usd_per_point is None:
        return ""
    found = weigh_retraining(recipe, registry, artifacts, raw_bytes=raw_bytes, at=at or now())
    if not found.is_worth:
        raise RetrainError(found.reason, place="[retrain]", hint="start one yourself: lehr train")
    return found.reason


def refuse_unaffordable(
    recipe: Recipe,
    cause: StartCause,
    registry: ModelRegistry,
    *,
    estimated_usd: float | None,
    at: str | None = None,
) -> None:
    """Raise BudgetError if this run's worst case and the month's runs of a cause are over [retrain] max_usd_per_month.

    Of a run without a price nothing can be said, which is refused as well.
    """
    limit = recipe.retrain.max_usd_per_month
    if not cause or limit is None:
        return
    if estimated_usd is None:
        raise BudgetError("the run has no known price", place="[retrain]", hint="leave max_usd_per_month out")
    month = (at or now())[:7]
    spent = month_to_date(_of_a_cause(registry.runs(recipe.project.name, limit=EVERY_RUN)), month)
    if spent + estimated_usd > limit:
        raise BudgetError(
            f"the run could cost {estimated_usd:.2f} USD; with {spent:.2f} USD of this month's ({month}) runs that "
            f"started by themselves that is {spent + estimated_usd:.2f}, over max_usd_per_month = {limit:g}",
            place="[retrain]",
            hint="start one yourself (lehr train), or raise the limit",
        )


def _of_a_cause(records: list[RunRecord]) -> list[RunRecord]:
    return [record for record in records if record.cause]
