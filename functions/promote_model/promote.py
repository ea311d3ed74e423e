"""The moves of the alias, at the generation that the candidate was judged or watched at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from lehr.clock import iso, now
from lehr.contracts.registry import Alias
from lehr.contracts.workflow import PromoteRequest, Promotion
from lehr.ports import ModelRegistry

# An execution that ends in the middle of a bake leaves its canary; it ends by itself this much later.
LEFT_OVER_S = 900


# Of a project and a version: raises ModelPackageError unless every byte of its package is what was published.
Check = Callable[[str, str], object]


def promote(
    request: PromoteRequest, registry: ModelRegistry, check: Check, *, at: datetime | None = None
) -> Promotion:
    """Make the candidate champion, a canary first, or none again. Raises ChampionChangedError if the alias has moved.

    Without a champion there is nobody to compare it with: it is promoted at once. Before it answers anybody its package
    is checked, once more after a bake; taking it away asks nothing.
    """
    if request.step != "withdraw":
        check(request.project, request.version)
    alias = _moved(request, registry, at or datetime.now(UTC))
    return Promotion(
        champion=alias.champion,
        previous=alias.previous,
        generation=alias.generation,
        is_baking=alias.canary is not None,
    )


def _moved(request: PromoteRequest, registry: ModelRegistry, at: datetime) -> Alias:
    project, generation = request.project, request.generation
    is_immediate = request.rollout.strategy == "immediate" or generation == 0
    current = registry.alias(project)
    if request.step == "complete" or (request.step == "begin" and is_immediate) or current is None:
        return registry.promote(project, request.version, run=request.run, generation=generation)
    is_beginning, rollout = request.step == "begin", request.rollout
    is_compared = (
        is_beginning and rollout.strategy == "canary" and rollout.max_disagreement_percent is not None
    )
    until = at + timedelta(minutes=rollout.bake_minutes, seconds=LEFT_OVER_S)
    return registry.begin_rollout(
        Alias(
            project=project,
            champion=current.champion,
            canary=request.version if is_beginning else None,
            weight=rollout.share_percent / 100 if is_beginning else 0.0,
            is_shadow=is_beginning and rollout.strategy == "shadow",
            is_compared=True if is_compared else msgspec.UNSET,
            bakes_until=iso(until) if is_beginning else "",
            generation=generation + 1,
            owner=request.run,
            kind="rollout" if is_beginning else "withdrawal",
            run=current.run,
            reason=request.reason[:500],
            updated_at=now(),
        )
    )
