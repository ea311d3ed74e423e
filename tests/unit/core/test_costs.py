"""Prices and costs: every figure has a date, an unknown price is said, and the arithmetic is the bill's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lehr.contracts.cost import RunCost, TrialCost
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.recipe_tables import Trials
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import TrialResult
from lehr.costs import functions_usd, record_cost, run_cost, trial_costs
from lehr.errors import RecipeError, UnknownPriceError
from lehr.estimates import arithmetic, estimate_run
from lehr.prices import PRICES_FILE, PriceTable, load_prices
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

MNIST = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()
PRICES = load_prices()


def result(**changes: object) -> TrialResult:
    fields = {"id": "0", "status": "Completed", "job": "lehr-mnist-r1-0-0"}
    return msgspec.convert(fields | changes, type=TrialResult)


def trial_cost(result: TrialResult, instance_type: str, prices: PriceTable) -> TrialCost:
    """Of a trial that took one job."""
    (cost,) = trial_costs(result, instance_type, prices)
    return cost


def recipe(**backend: Any) -> Recipe:
    """Two trials of an hour."""
    parsed = parse_recipe(
        MNIST + "\n[trials]\noverrides = [{ learning_rate = 0.1 }, { learning_rate = 0.01 }]\n"
    )
    return msgspec.structs.replace(parsed, backend=msgspec.structs.replace(parsed.backend, **backend))


def test_the_table_has_a_date_and_says_where_its_figures_come_from() -> None:
    assert PRICES.origin() == f"list prices of {PRICES.as_of}, us-east-1"
    assert "Price List API" in PRICES.source
    assert PriceTable.from_json(PRICES_FILE.read_bytes()) == PRICES


def test_sagemaker_costs_more_than_the_same_machine_of_ec2() -> None:
    both = [name for name in PRICES.instance_hour if f"ml.{name}" in PRICES.instance_hour]
    assert len(both) > 10
    assert all(PRICES.hour(f"ml.{name}") > PRICES.hour(name) for name in both)


def test_an_unknown_instance_type_names_the_table_and_the_command_that_refreshes_it() -> None:
    with pytest.raises(UnknownPriceError) as caught:
        PRICES.hour("ml.z9.huge")
    assert "prices.json" in str(caught.value)
    assert "lehr cost --refresh --instance ml.z9.huge" in str(caught.value)


def test_the_worst_case_is_trials_times_price_times_the_limit_and_the_functions() -> None:
    estimate = estimate_run(recipe(spot=False), PRICES, shards=3)
    volume = 0.14 * 50 / 730
    assert estimate.trials == 2
    assert estimate.training_usd == pytest.approx(2 * (PRICES.hour("ml.g5.xlarge") + volume), abs=1e-4)
    assert estimate.total_usd == pytest.approx(estimate.training_usd + estimate.functions_usd, abs=1e-4)
    assert arithmetic(estimate).startswith("2 trial(s) x 1 h x (1.408 USD of ml.g5.xlarge), and 0.")


def test_every_rung_of_a_trial_counts_as_a_trial_that_takes_all_of_its_time() -> None:
    one = recipe(spot=False)
    halving = msgspec.structs.replace(
        one,
        training=msgspec.structs.replace(one.training, epochs=9),
        trials=Trials(
            search="successive_halving", count=9, space={"learning_rate": [0.1 * n for n in range(1, 10)]}
        ),
    )
    estimate = estimate_run(halving, PRICES, shards=3)
    assert estimate.trials == 9 + 3 + 1
    assert estimate.training_usd == pytest.approx(13 * estimate.trial_usd, abs=1e-3)
    assert estimate.functions_usd > estimate_run(one, PRICES, shards=3).functions_usd


def test_spare_capacity_that_is_lost_at_the_last_moment_is_part_of_the_worst_case() -> None:
    estimate = estimate_run(recipe(spot=True), PRICES, shards=3)
    hour = PRICES.hour("ml.g5.xlarge")
    assert estimate.training_usd == pytest.approx(2 * hour * (1 + PRICES.spot_share), rel=0.02)
    assert "(0.5632 USD of ml.g5.xlarge spot + 1.408 USD of ml.g5.xlarge)" in arithmetic(estimate)


def test_the_worst_case_is_that_of_the_dearest_type_the_recipe_names() -> None:
    dear = recipe(spot=True, fallback_instance_types=("ml.g5.12xlarge",))
    spot, on_demand = estimate_run(dear, PRICES, shards=3).attempts
    assert (spot.instance_type, on_demand.instance_type) == ("ml.g5.xlarge", "ml.g5.12xlarge")
    assert on_demand.hour_usd == 7.09


def test_several_instances_cost_several_times_as_much_with_their_volumes_and_warm_pools() -> None:
    one, two = (
        estimate_run(recipe(spot=False, keep_alive_s=600, instance_count=count), PRICES, shards=3)
        for count in (1, 2)
    )
    assert two.training_usd == pytest.approx(2 * one.training_usd, abs=2e-4)
    assert two.warm_pool_usd == pytest.approx(2 * one.warm_pool_usd, abs=2e-4)
    (cost,) = trial_costs(result(billable_seconds=3600), "ml.g5.xlarge", PRICES, instance_count=2)
    assert cost.usd == 2.816


def test_a_second_backend_is_a_second_price() -> None:
    both = recipe(spot=False, kind="batch", fallback="sagemaker")
    attempts = estimate_run(both, PRICES, shards=3).attempts
    assert [(attempt.backend, attempt.instance_type) for attempt in attempts] == [
        ("batch", "g5.xlarge"),
        ("sagemaker", "ml.g5.xlarge"),
    ]


def test_a_warm_pool_that_nobody_comes_for_is_part_of_the_worst_case() -> None:
    cold, warm = (
        estimate_run(recipe(spot=True, keep_alive_s=seconds), PRICES, shards=3) for seconds in (0, 1800)
    )
    volume = 0.14 * 50 / 730
    pools = 2 * 0.5 * (PRICES.hour("ml.g5.xlarge") + volume)
    assert cold.warm_pool_usd == 0
    assert warm.warm_pool_usd == pytest.approx(pools, abs=1e-4)
    assert warm.total_usd == pytest.approx(cold.total_usd + pools, abs=1e-4)
    assert "1.42 USD of warm pools, and 0." in arithmetic(warm)
    assert "warm pools" not in arithmetic(cold)


def test_more_shards_cost_more_function_time() -> None:
    assert functions_usd(PRICES, shards=10) > functions_usd(PRICES, shards=1) > 0
    assert functions_usd(PRICES, shards=10, share=0.1) < functions_usd(PRICES, shards=10)


def test_a_trial_costs_its_billable_seconds() -> None:
    cost = trial_cost(result(billable_seconds=1800, training_seconds=3600), "ml.g5.xlarge", PRICES)
    assert (cost.seconds, cost.billable_seconds, cost.usd) == (3600, 1800, 0.704)


@pytest.mark.parametrize("cut", [None, 70])
def test_a_failed_trial_costs_what_the_cause_says_even_when_it_was_cut(cut: int | None) -> None:
    cause = json.dumps({"BillableTimeInSeconds": 3600, "TrainingTimeInSeconds": 3600, "X": "y"})[:cut]
    cost = trial_cost(result(status="Failed", cause=cause), "ml.g5.xlarge", PRICES)
    assert (cost.billable_seconds, cost.usd) == (3600, 1.408)


@pytest.mark.parametrize(
    ("changes", "instance"), [({}, "ml.g5.xlarge"), ({"billable_seconds": 10}, "ml.z9.huge")]
)
def test_what_is_not_known_is_none_and_leaves_the_run_incomplete(
    changes: dict[str, int], instance: str
) -> None:
    cost = trial_cost(result(**changes), instance, PRICES)
    assert cost.usd is None
    assert not run_cost("mnist", "r1", [cost], PRICES, shards=1).is_complete


def test_a_trial_that_needed_a_second_attempt_is_a_lower_bound() -> None:
    first, second = (
        trial_cost(result(job=f"lehr-mnist-r1-0-a{a}r0d0", billable_seconds=60), "ml.g5.xlarge", PRICES)
        for a in (0, 1)
    )
    assert (first.is_whole, second.is_whole) == (True, False)
    assert not run_cost("mnist", "r1", [second], PRICES, shards=1).is_complete


def test_every_attempt_of_a_trial_is_billed() -> None:
    earlier = [{"job": "lehr-mnist-r1-0-a0r0d0", "billable_seconds": 3600, "instance_type": "ml.g5.2xlarge"}]
    last = result(job="lehr-mnist-r1-0-a1r0d0", billable_seconds=3600, earlier=earlier)
    costs = trial_costs(last, "ml.g5.xlarge", PRICES)
    assert [(cost.trial, cost.usd, cost.is_whole) for cost in costs] == [
        ("0", 1.515, True),
        ("0", 1.408, True),
    ]
    cost = run_cost("mnist", "r1", costs, PRICES, shards=0)
    assert (cost.training_usd, cost.is_complete) == (2.923, True)


def test_the_instance_that_was_chosen_is_the_one_that_costs() -> None:
    cost = trial_cost(result(billable_seconds=3600, instance_type="ml.g5.2xlarge"), "ml.g5.xlarge", PRICES)
    assert (cost.instance_type, cost.usd) == ("ml.g5.2xlarge", 1.515)


@pytest.mark.parametrize("is_complete", [True, False])
def test_only_a_complete_sum_enters_the_record_of_the_run(is_complete: bool) -> None:
    store, registry = InMemoryObjectStore(), InMemoryRegistry()
    registry.add_run(
        RunRecord(
            project="mnist",
            run="r1",
            status="running",
            started_at="2026-01-31T12:00:00.000Z",
            execution_arn="arn",
            code_sha="c",
            fingerprint="f",
        )
    )
    trial = trial_cost(result(billable_seconds=3600), "ml.g5.xlarge", PRICES)
    cost = run_cost("mnist", "r1", [trial], PRICES, shards=1, is_complete=is_complete)
    record_cost(cost, store, registry)
    assert RunCost.from_json(store.objects["runs/mnist/r1/cost.json"]) == cost
    record = registry.run("mnist", "r1")
    assert record is not None
    assert record.actual_usd == (cost.total_usd if is_complete else None)


@pytest.mark.parametrize("limit", ["0", "-1", '"5"'])
def test_a_budget_is_a_positive_number_of_dollars_or_left_out(limit: str) -> None:
    with pytest.raises(RecipeError, match=r"budget\.max_usd_per_run"):
        parse_recipe(MNIST + f"\n[budget]\nmax_usd_per_run = {limit}\n")
    assert parse_recipe(MNIST).budget.max_usd_per_run is None
