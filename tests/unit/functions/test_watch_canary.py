"""What takes a candidate back, what is waited for, and what is said at the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.watch_canary.watch import SETTLE_S, watch
from lehr.contracts.registry import Alias
from lehr.contracts.workflow import WatchedCanary, WatchRequest
from lehr.errors import ChampionChangedError
from lehr.ports import VersionFigures
from tests.fakes import NOW, InMemoryRegistry

BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
WELL: dict[str, Any] = {"requests": 200, "latency_ms": 1.5, "lowest": 0.1, "highest": 0.9}
MANY: dict[str, Any] = {"requests": 1800, "latency_ms": 1.0, "lowest": 0.0, "highest": 1.0}


def look(
    minutes: float = 5,
    *,
    canary: dict[str, Any] | None = None,
    champion: dict[str, Any] | None = None,
    generation: int = 4,
    **rollout: Any,
) -> WatchedCanary:
    """One look at v1 beside v0, so many minutes after the bake of half an hour began."""
    registry = InMemoryRegistry()
    registry.aliases["mnist"] = Alias(
        project="mnist", champion="v0", canary="v1", weight=0.1, generation=4, owner="r1", updated_at=NOW
    )
    found = {"v1": VersionFigures(**WELL | (canary or {})), "v0": VersionFigures(**MANY | (champion or {}))}

    class Figures:
        def of_version(self, project: str, version: str, since: datetime) -> VersionFigures:
            assert (project, since) == ("mnist", BEGAN)
            return found[version]

    request = {
        "project": "mnist",
        "run": "r1",
        "version": "v1",
        "generation": generation,
        "began_at": "2026-01-31T12:00:00.000Z",
        "rollout": {"strategy": "canary", "bake_minutes": 30} | rollout,
    }
    at = BEGAN + timedelta(minutes=minutes)
    return watch(WatchRequest.from_value(request), registry, Figures(), at=at)


END = 30 + SETTLE_S / 60


def test_a_candidate_that_does_well_bakes_to_the_end_and_is_completed_with_its_figures() -> None:
    assert (look(5).verdict, look(5).wait_s) == ("bake", 60)
    assert (look(END - 0.25).verdict, look(END - 0.25).wait_s) == ("bake", 16)
    done = look(END)
    assert done.verdict == "complete"
    assert done.reason == "canary for 30 min: 200 requests, 0 failed, 1.5 ms beside 1"


def test_a_long_bake_is_looked_at_thirty_times() -> None:
    assert look(5, bake_minutes=1440).wait_s == 2880


@pytest.mark.parametrize("requests", [0, 99])
def test_too_little_traffic_completes_and_says_that_it_says_little(requests: int) -> None:
    done = look(END, canary={"requests": requests})
    assert done.verdict == "complete"
    assert done.reason.endswith("fewer than 100 requests, so this says little")


@pytest.mark.parametrize(
    ("canary", "champion", "says"),
    [
        ({"errors": 3}, {}, "3 of 200 requests failed (1.5 %)"),
        ({"errors": 200}, {"errors": 18}, "200 of 200 requests failed"),
        ({"requests": 3, "errors": 3}, {}, "3 of 3 requests failed"),
        ({"lowest": 0.5, "highest": 0.5}, {}, "all of its 200 answers were the same"),
        ({"latency_ms": 2.1}, {}, "2.1 ms for a request, 2.1 times the champion's 1"),
    ],
)
def test_a_bad_candidate_is_taken_back_at_once_with_the_figures(
    canary: dict[str, Any], champion: dict[str, Any], says: str
) -> None:
    for minutes in (1, END):
        seen = look(minutes, canary=canary, champion=champion)
        assert seen.verdict == "withdraw"
        assert says in seen.reason


@pytest.mark.parametrize(
    ("canary", "champion"),
    [
        # Two errors may be bad luck, until the end.
        ({"requests": 50, "errors": 2}, {}),
        # No worse than the champion: what fails is asked of both.
        ({"errors": 6}, {"errors": 90}),
        ({"lowest": 0.5, "highest": 0.5}, {"lowest": 0.5, "highest": 0.5}),
        ({"requests": 50, "lowest": 0.5, "highest": 0.5}, {}),
        ({"requests": 99, "latency_ms": 9.0}, {}),
        ({"latency_ms": 9.0}, {"requests": 99}),
        ({"latency_ms": 2.0}, {}),
        ({"latency_ms": None, "lowest": None, "highest": None}, {}),
    ],
)
def test_what_proves_nothing_is_watched_on(canary: dict[str, Any], champion: dict[str, Any]) -> None:
    assert look(5, canary=canary, champion=champion).verdict == "bake"


def test_one_error_too_many_counts_at_the_end() -> None:
    assert look(END, canary={"requests": 50, "errors": 1}).verdict == "withdraw"
    assert look(END, canary={"requests": 200, "errors": 1}).verdict == "complete"


@pytest.mark.parametrize("strategy", ["shadow", "canary"])
def test_disagreement_is_told_and_takes_back_only_where_the_recipe_says_from_when_on(strategy: str) -> None:
    differs = {"compared": 200, "disagreements": 50}
    assert look(END, canary=differs, strategy=strategy).reason.startswith(f"{strategy} for 30 min")
    assert "another label in 25 %" in look(END, canary=differs, strategy=strategy).reason
    seen = look(5, canary=differs, strategy=strategy, max_disagreement_percent=24.0)
    assert (seen.verdict, "in 50 of 200 requests (25 %)" in seen.reason) == ("withdraw", True)
    assert seen.reason.startswith(f"taken back as a {strategy}")
    assert look(5, canary=differs, strategy=strategy, max_disagreement_percent=25.0).verdict == "bake"


@pytest.mark.parametrize("compared", [0, 99])
def test_few_comparisons_take_no_canary_back(compared: int) -> None:
    few = {"compared": compared, "disagreements": compared}
    assert look(5, canary=few, max_disagreement_percent=0.0).verdict == "bake"


@pytest.mark.parametrize("generation", [3, 5])
def test_a_champion_that_was_moved_ends_the_watch(generation: int) -> None:
    with pytest.raises(ChampionChangedError):
        look(5, generation=generation)
