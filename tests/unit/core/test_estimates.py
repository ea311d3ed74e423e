"""The wall: USD that become seconds for each trial, at the dearest price, less what is around its training."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Budget, Rollout
from lehr.costs import ASSUMED_SHARE, functions_usd
from lehr.errors import BudgetError
from lehr.estimates import AROUND_TRAINING_S, BEHIND_WALL_S, allowed_runtime_s, estimate_run, training_wall_s
from tests.unit.core.test_costs import PRICES, recipe

# As `lehr cost` counts them after a run.
FUNCTIONS = functions_usd(PRICES, shards=3, rounds=1, share=ASSUMED_SHARE)
HOUR = PRICES.hour("ml.g5.xlarge") + 0.14 * 50 / 730


def walled(usd: float, **backend: Any) -> Recipe:
    """Two trials of an hour at most."""
    return msgspec.structs.replace(recipe(**backend), budget=Budget(stop_at_usd=usd))


def test_each_trial_gets_its_share_of_what_the_functions_leave() -> None:
    of_a_dollar = walled(1.0, spot=False)
    expected = (1.0 - FUNCTIONS) / 2 / HOUR * 3600 - AROUND_TRAINING_S
    assert training_wall_s(of_a_dollar, PRICES, shards=3) == pytest.approx(expected, abs=1)
    assert training_wall_s(recipe(spot=False), PRICES) is None


def test_what_a_trial_costs_at_its_wall_is_within_the_sum_whatever_the_capacity() -> None:
    for changes in ({"spot": True}, {"spot": False}, {"spot": False, "keep_alive_s": 300}):
        one = walled(2.0, **changes)
        wall = training_wall_s(one, PRICES, shards=3)
        assert wall is not None
        pools = 2 * changes.get("keep_alive_s", 0) / 3600 * HOUR
        assert 2 * (wall + AROUND_TRAINING_S) / 3600 * HOUR + pools + FUNCTIONS == pytest.approx(
            2.0, abs=2e-3
        )


def test_several_instances_have_less_time_and_a_canary_costs_a_little() -> None:
    one, two = (training_wall_s(walled(2.0, instance_count=count), PRICES) for count in (1, 2))
    assert one is not None
    assert two is not None
    assert (one + AROUND_TRAINING_S) / 2 == pytest.approx(two + AROUND_TRAINING_S, abs=1)
    canary = msgspec.structs.replace(recipe(), rollout=Rollout(strategy="canary"))
    looks = 34 * 0.25 * 60 * PRICES.gb_second()
    more = (
        estimate_run(canary, PRICES, shards=3).functions_usd
        - estimate_run(recipe(), PRICES, shards=3).functions_usd
    )
    assert more == pytest.approx(looks, rel=0.02)


def test_the_job_has_a_limit_behind_the_wall_and_the_worst_case_counts_that() -> None:
    short = walled(1.0, spot=False)
    wall = training_wall_s(short, PRICES, shards=3) or 0
    assert allowed_runtime_s(short.backend, wall) == wall + BEHIND_WALL_S
    assert estimate_run(short, PRICES, shards=3).max_runtime_s == wall + BEHIND_WALL_S
    assert allowed_runtime_s(short.backend, 90_000) == allowed_runtime_s(short.backend, None) == 3600


def test_a_wall_that_leaves_no_time_is_refused_with_the_sum_that_would() -> None:
    with pytest.raises(BudgetError) as caught:
        training_wall_s(walled(0.05), PRICES, shards=3)
    assert "stop_at_usd = 0.05 buys" in str(caught.value)
    said = caught.value.hint or ""
    least = float(said.split()[0])
    assert (training_wall_s(walled(least + 0.01), PRICES, shards=3) or 0) >= 60
