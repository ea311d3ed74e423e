"""24 runs promote at once, round after round, and one in ten replies gets lost: one chain of champions, nobody misled.

    pytest -m slow tests/integration/aws/test_promotion_race.py -rP    # 200 rounds; the quick form is 2

A racer does what a run does: it is judged against the champion of the moment, promotes at that generation, and is
judged again when another was faster. What each was told is then held against what the table says.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from lehr.aws import champions
from lehr.aws.registry import DynamoModelRegistry
from lehr.contracts.registry import Alias
from lehr.errors import ChampionChangedError
from tests.integration.aws.faulty_table import FaultyTable, LostReplyError, UnconditionalTable

RACERS, LOST_SHARE = 24, 0.1


@dataclass
class Told:
    """What the racers of a round were told; `first` are the winners of the generation that all began at."""

    promoted: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    first: list[str] = field(default_factory=list)
    rejudged: int = 0


def race(table: Any, project: str, scores: dict[str, float]) -> Told:
    """All runs of `scores` at once, from a project without a champion."""
    registry, told = DynamoModelRegistry(table), Told()
    start, lock = threading.Barrier(len(scores)), threading.Lock()

    def run(name: str) -> None:
        alias: Alias | None = None
        start.wait(timeout=30)
        while alias is None or scores[name] > scores[alias.owner]:
            generation = alias.generation if alias else 0
            try:
                _promoted(registry, project, name, generation)
            except ChampionChangedError:
                alias = registry.alias(project)
                with lock:
                    told.rejudged += 1
                continue
            with lock:
                told.promoted.add(name)
                if generation == 0:
                    told.first.append(name)
            return
        with lock:
            told.rejected.add(name)

    with ThreadPoolExecutor(len(scores)) as threads:
        for done in [threads.submit(run, name) for name in scores]:
            done.result()
    return told


def _promoted(registry: DynamoModelRegistry, project: str, name: str, generation: int) -> None:
    """As the state machine calls promote_model: again, after an error that says nothing."""
    while True:
        try:
            registry.promote(project, f"v-{name}", run=name, generation=generation)
        except LostReplyError:
            continue
        return


def faults_of(told: Told, chain: list[Alias], scores: dict[str, float]) -> list[str]:
    """What is wrong with a round, given the history of its alias from the first generation on."""
    faults = []
    if len(told.first) != 1:
        faults.append(f"{len(told.first)} winners of one generation")
    if [alias.generation for alias in chain] != list(range(1, len(chain) + 1)):
        faults.append("the generations have a gap")
    if [alias.previous for alias in chain] != [None, *(alias.champion for alias in chain[:-1])]:
        faults.append("the chain is broken")
    reached = [scores[alias.owner] for alias in chain]
    if reached != sorted(set(reached)):
        faults.append("a champion was not judged against the one that it replaced")
    if {alias.owner for alias in chain} != told.promoted:
        faults.append("somebody was told what is not so")
    if told.promoted | told.rejected != scores.keys() or told.promoted & told.rejected:
        faults.append("somebody has no answer, or two")
    return faults


def rounds_of(
    table: Any, count: int, wrap: Callable[[Any, int], Any] = lambda table, seed: table
) -> tuple[list[str], Counter[str]]:
    """The faults of `count` rounds, and what happened in them."""
    faults: list[str] = []
    seen: Counter[str] = Counter()
    for number in range(count):
        generator = random.Random(number)
        scores = {f"run-{racer}": generator.random() for racer in range(RACERS)}
        wrapped = wrap(table, number)
        told = race(wrapped, f"race-{number}", scores)
        chain = DynamoModelRegistry(table).champions(f"race-{number}")[::-1]
        faults += faults_of(told, chain, scores)
        seen += Counter({"promotions": len(chain), "judged again": told.rejudged})
        seen += getattr(wrapped, "landed", Counter())
    return faults, seen


def lossy(table: Any, seed: int) -> FaultyTable:
    return FaultyTable(table, LOST_SHARE, seed)


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_one_wins_each_generation_and_everybody_is_told_the_truth(
    table: Any, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    faults, seen = rounds_of(table, rounds, lossy)
    print(f"{rounds} rounds of {RACERS}: {dict(seen)}")
    record_property("seen", dict(seen))
    assert faults == []
    assert seen["judged again"] >= rounds * (RACERS - 1)
    if rounds > 10:
        assert min(seen["retried by the SDK"], seen["given up"]) > 10


def test_every_reply_may_be_lost(table: Any) -> None:
    """The quick form of what is rare above: each write commits, and nobody hears of it at once."""
    faults, seen = rounds_of(table, 1, lambda table, seed: FaultyTable(table, 1.0, seed))
    assert faults == []
    assert seen["retried by the SDK"] + seen["given up"] >= seen["promotions"]


def test_without_the_condition_several_win(table: Any) -> None:
    """Negative control: read, then write."""
    faults, _ = rounds_of(table, 1, lambda table, seed: UnconditionalTable(table, RACERS))
    assert "24 winners of one generation" in faults
    assert "somebody was told what is not so" in faults


def test_without_the_owner_a_lost_reply_is_a_lie(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: who does not recognise their own write takes it for somebody else's."""
    monkeypatch.setattr(champions, "_own", lambda alias, wanted: None)
    faults, _ = rounds_of(table, 1, lambda table, seed: FaultyTable(table, 1.0, seed))
    assert "somebody was told what is not so" in faults


def test_without_the_history_a_winner_who_was_overtaken_is_told_that_it_lost(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: another champion came before the reply, and only the kept generation remembers."""

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(table, name)

        def put_item(self, **arguments: Any) -> Any:
            table.put_item(**arguments)
            DynamoModelRegistry(table).promote(arguments["Item"]["project"], "v2", run="r2", generation=1)
            return table.put_item(**arguments)

    registry = DynamoModelRegistry(Overtaken())
    assert registry.promote("mnist", "v1", run="r1", generation=0).champion == "v1"
    assert [one.champion for one in DynamoModelRegistry(table).champions("mnist")] == ["v2", "v1"]
    elsewhere = lambda project, generation: {"pk": uuid4().hex, "sk": "elsewhere"}  # noqa: E731
    monkeypatch.setattr(champions, "generation_key", elsewhere)
    with pytest.raises(ChampionChangedError):
        registry.promote("other", "v1", run="r1", generation=0)
