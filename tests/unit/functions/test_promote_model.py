"""Promotion at once, and by a canary or a shadow: begun beside the champion, then completed or withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.promote_model.promote import promote
from lehr.contracts.registry import Alias
from lehr.contracts.workflow import PromoteRequest, Promotion
from lehr.errors import ChampionChangedError
from tests.fakes import InMemoryRegistry

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class World:
    """A project whose champion is v0, at generation 1."""

    def __init__(self) -> None:
        self.registry = InMemoryRegistry()
        self.registry.promote("mnist", "v0", run="r0", generation=0)

    def promote(self, generation: int = 1, strategy: str = "canary", **more: Any) -> Promotion:
        value = {"project": "mnist", "run": "r1", "version": "v1", "generation": generation}
        rollout = {"strategy": strategy, "share_percent": 25.0, "bake_minutes": 30}
        return promote(PromoteRequest.from_value(value | {"rollout": rollout} | more), self.registry, at=AT)

    @property
    def alias(self) -> Alias:
        return self.registry.aliases["mnist"]


def test_without_a_rollout_the_candidate_is_champion_at_once() -> None:
    world = World()
    promotion = world.promote(strategy="immediate")
    assert (promotion.champion, promotion.previous, promotion.is_baking) == ("v1", "v0", False)


@pytest.mark.parametrize(("strategy", "is_shadow"), [("canary", False), ("shadow", True)])
def test_a_candidate_begins_beside_the_champion_for_a_while(strategy: str, is_shadow: bool) -> None:
    world = World()
    promotion = world.promote(strategy=strategy)
    assert (promotion.champion, promotion.generation, promotion.is_baking) == ("v0", 2, True)
    alias = world.alias
    assert (alias.champion, alias.canary, alias.weight, alias.is_shadow) == ("v0", "v1", 0.25, is_shadow)
    # The champion's own run stays what it was; and a quarter of an hour after the bake nobody answers by the canary.
    assert (alias.owner, alias.run, alias.kind) == ("r1", "r0", "rollout")
    assert alias.bakes_until == "2026-01-31T12:45:00.000Z"


def test_a_canary_becomes_champion_or_is_none_any_more() -> None:
    done, left = World(), World()
    for world in (done, left):
        world.promote()
    assert done.promote(2, step="complete").champion == "v1"
    assert (done.alias.canary, done.alias.weight, done.alias.previous) == (None, 0.0, "v0")
    withdrawn = left.promote(2, step="withdraw", reason="too slow")
    assert (withdrawn.champion, withdrawn.is_baking, withdrawn.generation) == ("v0", False, 3)
    assert (left.alias.canary, left.alias.kind, left.alias.reason) == (None, "withdrawal", "too slow")
    assert left.alias.run == "r0"


def test_each_step_made_again_moves_nothing() -> None:
    world = World()
    for generation, step in ((1, "begin"), (2, "withdraw")):
        assert world.promote(generation, step=step) == world.promote(generation, step=step)
    assert world.alias.generation == 3


@pytest.mark.parametrize("step", ["begin", "complete", "withdraw"])
def test_no_step_is_made_at_a_generation_that_has_passed(step: str) -> None:
    world = World()
    world.registry.promote("mnist", "v9", run="r9", generation=1)
    with pytest.raises(ChampionChangedError):
        world.promote(1, step=step)
    assert world.alias.champion == "v9"


def test_the_first_model_of_a_project_has_nobody_beside_it() -> None:
    world = World()
    world.registry = InMemoryRegistry()
    assert world.promote(0).champion == "v1"
