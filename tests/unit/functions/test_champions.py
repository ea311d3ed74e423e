"""Which model answers while aliases move, refreshes freeze and services are away: warm requests never wait or fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from functions.predict import champions as module
from functions.predict.champions import (
    GIVE_UP_S,
    LOAD_GIVE_UP_S,
    MAX_REFRESHES,
    REFRESH_S,
    REFUSED_S,
    Champions,
)
from functions.predict.rollout import Scored
from functions.predict.serving import fraction
from lehr import layout
from lehr.contracts.registry import Alias
from lehr.errors import ModelPackageError, NoChampionError, UnknownProjectError
from lehr.json_log import JsonLog
from lehr_runtime.packages import LoadedModel
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry


class World:
    """Champions over fakes, a clock, and refreshes that run when the test says so."""

    def __init__(self) -> None:
        self.store, self.registry, self.now = InMemoryObjectStore("artifacts"), InMemoryRegistry(), 100.0
        self.loads: list[str] = []
        self.broken: set[str] = set()
        self.fallbacks = 0
        self.scored: list[tuple[str, Scored]] = []
        self.waiting: list[Callable[[], None]] = []
        self.champions = Champions(
            self.store,
            self.registry,
            self.load,
            JsonLog(),
            on_fallback=self.count,
            on_scored=lambda project, scored: self.scored.append((project, scored)),
            clock=lambda: self.now,
            spawn=self.waiting.append,
        )
        self.store.put(layout.project_head_key("mnist"), b"{}")

    def count(self) -> None:
        self.fallbacks += 1

    def load(self, project: str, version: str) -> LoadedModel:
        self.loads.append(version)
        if version in self.broken:
            raise ModelPackageError(f"{version}: broken")
        nothing: Any = None
        return LoadedModel(version=version, package=nothing, signature=nothing, predictor=nothing)

    def move(self, champion: str, **more: Any) -> None:
        generation = self.registry.aliases["mnist"].generation if "mnist" in self.registry.aliases else 0
        self.registry.aliases["mnist"] = Alias(
            project="mnist",
            champion=champion,
            generation=generation + 1,
            owner="r",
            updated_at=NOW,
            **more,
        )

    def serving(self, key: str | None = None) -> str:
        return self.champions.get("mnist", key).model.version

    def refresh_all(self) -> None:
        self.champions._spawn = lambda work: work()
        assert self.champions.refresh_all(within_s=0)
        self.champions._spawn = self.waiting.append

    def run_refreshes(self) -> None:
        waiting, self.waiting[:] = list(self.waiting), []
        for work in waiting:
            work()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "GRACE_S", 0.001)
    return World()


# --- in the background


def test_a_warm_request_is_answered_before_the_alias_is_read(world: World) -> None:
    world.move("v1")
    assert world.serving() == "v1"
    world.move("v2")
    world.now += REFRESH_S
    reads = world.registry.alias_reads
    assert [world.serving() for _ in range(3)] == ["v1"] * 3
    assert (world.registry.alias_reads, len(world.waiting)) == (reads, 1)
    world.run_refreshes()
    assert world.serving() == "v2"


def test_the_alias_is_read_at_most_once_in_the_interval(world: World) -> None:
    world.move("v1")
    world.serving()
    for _ in range(100):
        world.now += REFRESH_S / 10
        world.serving()
        world.run_refreshes()
    assert world.registry.alias_reads == 1 + 10
    assert world.loads == ["v1"]


def test_a_refresh_that_was_frozen_is_given_up_and_what_it_finds_is_dropped(world: World) -> None:
    world.move("v1")
    world.serving()
    world.now += REFRESH_S
    world.serving()
    (frozen,) = world.waiting
    world.waiting.clear()
    world.now += GIVE_UP_S - 1
    world.serving()
    assert not world.waiting
    world.now += 1
    world.move("v2")
    world.serving()
    world.run_refreshes()
    assert world.serving() == "v2"
    # The first one thaws with an answer of before.
    world.move("v1")
    frozen()
    assert world.serving() == "v2"


def test_a_request_lends_a_moment_to_a_refresh_after_a_freeze_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 30.0)
    world.move("v1")
    world.serving()
    world.move("v2")
    world.now += REFRESH_S
    assert world.serving() == "v1"  # at once: nobody runs that refresh
    world.waiting.clear()  # frozen
    world.champions._spawn = lambda work: threading.Thread(target=work).start()
    world.now += GIVE_UP_S
    assert world.serving() == "v2"


def test_a_load_is_not_given_up_with_the_reading_and_is_lent_a_moment_now_and_then(world: World) -> None:
    world.move("v1")
    world.serving()
    gate, entered = threading.Event(), threading.Event()
    load = world.load

    def slow(project: str, version: str) -> LoadedModel:
        entered.set()
        assert gate.wait(30)
        return load(project, version)

    world.champions._load = slow
    world.move("v2")
    world.now += REFRESH_S
    world.serving()
    thread = threading.Thread(target=world.run_refreshes)
    thread.start()
    assert entered.wait(30)
    for _ in range(10):
        world.now += REFRESH_S
        assert world.serving() == "v1"
    assert not world.waiting  # no second load of the same model beside the first
    gate.set()
    thread.join()
    assert world.serving() == "v2"
    assert world.loads == ["v1", "v2"]
    assert LOAD_GIVE_UP_S > 10 * REFRESH_S


def test_refreshes_that_never_end_do_not_pile_up(world: World) -> None:
    world.move("v1")
    world.serving()
    for _ in range(50):
        world.now += GIVE_UP_S
        assert world.serving() == "v1"
    assert len(world.waiting) == MAX_REFRESHES
    world.move("v2")
    world.run_refreshes()
    world.now += GIVE_UP_S
    world.serving()
    world.run_refreshes()
    assert world.serving() == "v2"


def test_a_process_that_may_start_no_threads_keeps_answering(world: World) -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    world.move("v1")
    world.serving()
    spawn, world.champions._spawn = world.champions._spawn, refuse
    for _ in range(2 * MAX_REFRESHES):
        world.now += REFRESH_S
        assert world.serving() == "v1"
    world.champions._spawn = spawn
    world.move("v2")
    world.now += REFRESH_S
    world.serving()
    world.run_refreshes()
    assert world.serving() == "v2"


def test_a_registry_that_is_away_costs_no_request_anything(world: World) -> None:
    world.move("v1")
    world.serving()
    for _ in range(500):
        world.registry.faults = [ConnectionError("refused")]
        world.now += REFRESH_S / 3
        assert world.serving() == "v1"
        world.run_refreshes()
    world.registry.faults = []
    world.move("v2")
    world.now += REFRESH_S
    world.serving()
    world.run_refreshes()
    assert world.serving() == "v2"


def test_after_a_restore_every_warm_alias_is_read_at_once(world: World) -> None:
    world.move("v1")
    world.serving()
    world.move("v2")
    world.refresh_all()
    assert world.serving() == "v2"
    world.registry.faults = [ConnectionError("refused")]
    world.refresh_all()
    assert world.serving() == "v2"


def test_a_champion_that_was_taken_away_is_gone_after_the_refresh(world: World) -> None:
    world.move("v1")
    world.serving()
    world.registry.aliases.clear()
    world.now += REFRESH_S
    assert world.serving() == "v1"
    world.run_refreshes()
    with pytest.raises(NoChampionError):
        world.serving()
    world.store.objects.clear()
    with pytest.raises(UnknownProjectError):
        world.serving()


def test_first_requests_at_once_load_the_model_once(world: World) -> None:
    world.move("v1")
    load = world.load

    def slow(project: str, version: str) -> LoadedModel:
        time.sleep(0.05)
        return load(project, version)

    world.champions._load = slow
    threads = [threading.Thread(target=world.serving) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.loads == ["v1"]


def test_a_restore_does_not_wait_for_what_hangs(world: World) -> None:
    world.move("v1")
    world.serving()
    world.move("v2")
    assert not world.champions.refresh_all(within_s=0.01)
    assert world.serving() == "v1"
    world.run_refreshes()
    assert world.serving() == "v2"


# --- a champion that must not be loaded


def test_a_broken_champion_falls_back_to_the_one_before_it_and_is_counted(world: World) -> None:
    world.broken = {"v2"}
    world.move("v2", previous="v1")
    assert world.serving() == "v1"
    assert world.fallbacks == 1
    assert world.champions.get("mnist").generation == 1


def test_a_broken_new_champion_leaves_the_old_one_and_is_not_loaded_again_and_again(world: World) -> None:
    world.move("v1")
    world.serving()
    world.broken = {"v2"}
    world.move("v2", previous="v1")
    for _ in range(5):
        world.now += REFRESH_S
        assert world.serving() == "v1"
        world.run_refreshes()
    world.serving()
    assert world.loads == ["v1", "v2"]
    assert world.fallbacks == 5
    # A file that was missing has come.
    world.broken = set()
    world.now += REFUSED_S
    world.serving()
    world.run_refreshes()
    assert world.serving() == "v2"


@pytest.mark.parametrize("previous", [None, "v0"])
def test_a_broken_champion_with_nothing_before_it_is_no_champion(previous: str | None, world: World) -> None:
    world.broken = {"v0", "v1"}
    world.move("v1", previous=previous)
    for _ in range(3):
        with pytest.raises(NoChampionError):
            world.serving()
    assert Counter(world.loads) == Counter({"v1": 1} | ({"v0": 1} if previous else {}))
    assert world.fallbacks == 3


def test_a_store_that_is_away_is_no_reason_to_serve_the_one_before(world: World) -> None:
    """A cold start that cannot read says so, instead of answering with a model that was replaced."""

    def away(project: str, version: str) -> LoadedModel:
        raise ConnectionError("refused")

    world.champions._load = away
    world.move("v2", previous="v1")
    with pytest.raises(ConnectionError):
        world.serving()
    assert world.fallbacks == 0


# --- the canary


def test_a_canary_answers_its_share_of_keys_and_the_same_ones_each_time(world: World) -> None:
    world.move("v1", canary="v2", weight=0.2)
    keys = [f"client-{number}" for number in range(2000)]
    first = {key: world.serving(key) for key in keys}
    assert 0.17 < Counter(first.values())["v2"] / len(keys) < 0.23
    assert {key: world.serving(key) for key in keys} == first
    assert world.serving() == "v1"


def test_more_weight_only_adds_keys(world: World) -> None:
    keys = [f"client-{number}" for number in range(300)]
    world.move("v1", canary="v2", weight=0.1)
    few = {key for key in keys if world.serving(key) == "v2"}
    world.move("v1", canary="v2", weight=0.5)
    world.refresh_all()
    many = {key for key in keys if world.serving(key) == "v2"}
    assert few < many
    world.move("v2", canary="v2", weight=1.0)
    world.refresh_all()
    assert {world.serving(key) for key in keys} == {"v2"}


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5])
def test_a_weight_that_is_no_share_sends_nobody(weight: float, world: World) -> None:
    world.move("v1", canary="v2", weight=weight)
    assert {world.serving(str(number)) for number in range(50)} == {"v1"}
    assert world.loads == ["v1"]


def test_a_canary_that_cannot_be_loaded_is_answered_for_by_the_champion(world: World) -> None:
    world.broken = {"v2"}
    world.move("v1", canary="v2", weight=1.0)
    assert world.serving("key") == "v1"
    assert world.fallbacks == 0
    # Who watches the canary has to hear of it: it answers nothing, and fails nothing else.
    assert world.scored == [("mnist", Scored("v2", has_failed=True))]


def test_a_canary_that_an_execution_has_left_behind_ends_by_itself(world: World) -> None:
    until = {"past": "2026-01-01T00:00:00.000Z", "future": "2100-01-01T00:00:00.000Z"}
    world.move("v1", canary="v2", weight=1.0, bakes_until=until["future"])
    assert world.serving("key") == "v2"
    world.move("v1", canary="v2", weight=1.0, bakes_until=until["past"])
    world.refresh_all()
    assert world.serving("key") == "v1"


def test_a_shadow_answers_nobody(world: World) -> None:
    world.move("v1", canary="v2", weight=1.0, is_shadow=True)
    assert {world.serving(str(number)) for number in range(20)} == {"v1"}
    assert world.loads == ["v1", "v2"]


def test_the_promotion_of_a_canary_loads_nothing(world: World) -> None:
    world.move("v1", canary="v2", weight=0.5)
    world.serving()
    world.move("v2", previous="v1")
    world.refresh_all()
    assert world.serving() == "v2"
    assert world.loads == ["v1", "v2"]


def test_a_fraction_is_fixed_for_all_time() -> None:
    """Changing it would send clients of a running canary another way."""
    assert fraction("client-7") == pytest.approx(0.8228656698611567, abs=1e-12)
    assert 0 <= fraction("\ud800") < 1
