"""A snapshot holds the champions of the projects that were named; a restored copy looks again before it answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from functions.predict.snapshots import is_for_snapshot, prepare_snapshot
from tests.unit.functions.test_champions import World


class Reader:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def prepare(world: World, projects: str, *readers: Reader) -> Callable[[], None]:
    """The hook that was registered."""
    hooks: list[Callable[[], None]] = []
    world.champions._spawn = lambda work: work()
    prepare_snapshot(world.champions, projects, readers, world.champions._logger, register=hooks.append)
    (hook,) = hooks
    return hook


def test_the_champions_of_the_snapshot_are_loaded_and_looked_for_again_after_a_restore() -> None:
    world, readers = World(), (Reader(), Reader())
    world.move("v1")
    after_restore = prepare(world, "mnist", *readers)
    assert world.loads == ["v1"]
    assert [reader.closed for reader in readers] == [1, 1]
    world.move("v2")
    after_restore()
    assert world.serving() == "v2"
    assert [reader.closed for reader in readers] == [2, 2]


def test_a_project_that_cannot_be_loaded_yet_does_not_stop_the_version() -> None:
    world = World()
    after_restore = prepare(world, "nobody,mnist")
    world.move("v1")
    after_restore()
    assert world.serving() == "v1"


def test_nothing_is_loaded_where_no_project_is_named() -> None:
    world = World()
    world.move("v1")
    prepare(world, "")
    assert world.loads == []


def test_a_restore_during_an_outage_leaves_the_champion_of_the_snapshot() -> None:
    world = World()
    world.move("v1")
    after_restore = prepare(world, "mnist")
    world.registry.faults = [ConnectionError("no route")]
    after_restore()
    assert world.serving() == "v1"


@pytest.mark.parametrize(("kind", "expected"), [("snap-start", True), ("on-demand", False), (None, False)])
def test_only_an_initialisation_for_a_snapshot_is_one(kind: str | None, expected: bool) -> None:
    environ = {"AWS_LAMBDA_INITIALIZATION_TYPE": kind} if kind else {}
    assert is_for_snapshot(environ) is expected
