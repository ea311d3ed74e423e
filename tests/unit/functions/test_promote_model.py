"""Promotion at once, and by a canary or a shadow: begun beside the champion, then completed or withdrawn."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from functions.promote_model.promote import promote
from lehr import layout
from lehr.contracts.registry import Alias
from lehr.contracts.workflow import PromoteRequest, Promotion
from lehr.errors import ChampionChangedError, ModelPackageError
from lehr.model_packages import check_package
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.signing import LocalKey, sign_package

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class World:
    """A project whose champion is v0, at generation 1."""

    def __init__(self) -> None:
        self.registry = InMemoryRegistry()
        self.registry.promote("mnist", "v0", run="r0", generation=0)
        self.checked: list[tuple[str, str]] = []

    def check(self, project: str, version: str) -> None:
        self.checked.append((project, version))

    def promote(self, generation: int = 1, strategy: str = "canary", **more: Any) -> Promotion:
        value = {"project": "mnist", "run": "r1", "version": "v1", "generation": generation}
        rollout = {"strategy": strategy, "share_percent": 25.0, "bake_minutes": 30}
        return promote(
            PromoteRequest.from_value(value | {"rollout": rollout} | more), self.registry, self.check, at=AT
        )

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


@pytest.mark.parametrize(
    ("strategy", "limit", "is_compared"),
    [("canary", 5.0, True), ("canary", 0.0, True), ("canary", None, None), ("shadow", 5.0, None)],
)
def test_a_canary_is_compared_where_the_recipe_limits_disagreement_and_no_longer_than_it_answers(
    strategy: str, limit: float | None, is_compared: bool | None
) -> None:
    world = World()
    rollout = {"strategy": strategy, "max_disagreement_percent": limit}
    world.promote(rollout=rollout)
    # What is not so is not written: an endpoint of an earlier release reads the item.
    assert world.alias.to_value().get("is_compared") is is_compared
    world.promote(2, step="withdraw", rollout=rollout)
    assert "is_compared" not in world.alias.to_value()


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


def test_what_is_to_answer_is_checked_and_what_is_taken_away_is_not() -> None:
    world = World()
    world.promote()
    world.promote(2, step="withdraw")
    assert world.checked == [("mnist", "v1")]


def promoted(store: InMemoryObjectStore, version: str, key: LocalKey | None) -> InMemoryRegistry:
    """As the function promotes: with all of a package checked, and its signature with a key."""
    registry = InMemoryRegistry()
    request = PromoteRequest(project="mnist", run="r1", version=version, generation=0)
    with suppress(ModelPackageError):
        promote(request, registry, partial(check_package, store, verifier=key))
    return registry


def test_a_signed_package_becomes_the_champion_and_one_that_is_not_moves_no_alias() -> None:
    store, key = InMemoryObjectStore(), LocalKey()
    version = models.publish(store, "mnist", models.files())
    assert promoted(store, version, key).alias("mnist") is None
    sign_package(store, "mnist", version, key)
    assert promoted(store, version, key).aliases["mnist"].champion == version


def test_without_signatures_a_package_is_checked_to_its_last_file_all_the_same() -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", models.files() | {"weights.safetensors": b"weights"})
    assert promoted(store, version, None).aliases["mnist"].champion == version
    store.put(layout.model_file_key("mnist", version, "weights.safetensors"), b"weightz")
    assert promoted(store, version, None).alias("mnist") is None
