"""The order in which a trial asks for capacity, and that its worst case is worked out for the same attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.start_run.attempts import plan_attempts
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.recipe_tables import Backend
from lehr.errors import RecipeError
from lehr.estimates import estimate_run
from lehr.prices import load_prices

MNIST = parse_recipe((Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text())
MIXED: dict[str, Any] = {
    "instance_type": "ml.c5.xlarge",
    "fallback_instance_types": ("ml.m5.xlarge", "ml.g5.xlarge"),
}


def planned(**backend: Any) -> list[tuple[str, bool, list[str]]]:
    attempts = plan_attempts(Backend(**backend), has_batch=True)
    return [(attempt.backend, attempt.spot, attempt.instance_types) for attempt in attempts]


def recipe(**backend: Any) -> Recipe:
    return msgspec.structs.replace(MNIST, backend=Backend(**backend))


def test_spot_goes_before_on_demand_and_the_fallback_after_both() -> None:
    assert planned(fallback="batch") == [
        ("sagemaker", True, ["ml.g5.xlarge"]),
        ("sagemaker", False, ["ml.g5.xlarge"]),
        ("batch", True, ["ml.g5.xlarge"]),
        ("batch", False, ["ml.g5.xlarge"]),
    ]


def test_without_spot_there_is_one_attempt() -> None:
    assert planned(spot=False) == [("sagemaker", False, ["ml.g5.xlarge"])]


def test_types_that_take_a_key_for_their_volume_are_asked_for_apart_from_those_that_refuse_one() -> None:
    attempts = plan_attempts(Backend(spot=False, **MIXED), has_batch=False)
    assert [(attempt.instance_types, attempt.has_local_storage) for attempt in attempts] == [
        (["ml.c5.xlarge", "ml.m5.xlarge"], False),
        (["ml.g5.xlarge"], True),
    ]


def test_a_warm_pool_goes_with_sagemaker_on_demand_only() -> None:
    attempts = plan_attempts(Backend(fallback="batch", keep_alive_s=600), has_batch=True)
    assert [attempt.keep_alive_s for attempt in attempts] == [0, 600, 0, 0]


def test_several_nodes_of_batch_are_asked_for_on_demand_only_and_those_of_sagemaker_as_ever() -> None:
    assert planned(instance_count=2, fallback="batch") == [
        ("sagemaker", True, ["ml.g5.xlarge"]),
        ("sagemaker", False, ["ml.g5.xlarge"]),
        ("batch", False, ["ml.g5.xlarge"]),
    ]


def test_batch_in_a_stack_without_it_is_refused() -> None:
    with pytest.raises(RecipeError, match="names AWS Batch"):
        plan_attempts(Backend(fallback="batch"), has_batch=False)


@pytest.mark.parametrize(
    "backend",
    [
        {},
        {"spot": False},
        {"fallback": "batch", "keep_alive_s": 60},
        {"fallback": "batch", "instance_count": 2},
        MIXED,
        {"kind": "batch", **MIXED},
    ],
)
def test_the_worst_case_is_that_of_the_attempts_that_are_made(backend: dict[str, Any]) -> None:
    attempts = plan_attempts(Backend(**backend), has_batch=True)
    estimated = estimate_run(recipe(**backend), load_prices(), shards=1).attempts
    assert [(each.backend, each.spot, each.keep_alive_s) for each in estimated] == [
        (each.backend, each.spot, each.keep_alive_s) for each in attempts
    ]


def function(has_mb: int = 3008, **backend: Any) -> list[tuple[str, bool, list[str], bool]]:
    attempts = plan_attempts(Backend(**backend), has_batch=True, function_memory_mb=has_mb)
    return [(attempt.backend, attempt.spot, attempt.instance_types, attempt.has_gpu) for attempt in attempts]


def test_a_function_is_one_attempt_on_the_memory_that_the_stack_gives_it() -> None:
    assert function(kind="lambda") == [("lambda", False, ["lambda-3008mb"], False)]
    assert function(5000, kind="lambda", memory_mb=2000) == [("lambda", False, ["lambda-5000mb"], False)]


def test_a_function_may_stand_in_for_capacity_and_the_other_way_round() -> None:
    assert [kind for kind, *_ in function(fallback="lambda")] == ["sagemaker", "sagemaker", "lambda"]
    assert [kind for kind, *_ in function(kind="lambda", fallback="sagemaker")] == [
        "lambda",
        "sagemaker",
        "sagemaker",
    ]


def test_a_function_in_a_stack_without_one_is_refused_with_the_way_out() -> None:
    for backend in (Backend(kind="lambda"), Backend(fallback="lambda")):
        with pytest.raises(RecipeError, match=r"lehr image build --cpu.*TrainerFunctionImageUri"):
            plan_attempts(backend, has_batch=True)


def test_a_function_with_less_memory_than_the_recipe_asks_for_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"memory_mb is 4000.*has 3008.*TrainerFunctionMemoryMb=4000"):
        function(kind="lambda", memory_mb=4000)


def test_the_worst_case_of_a_function_is_its_memory_for_all_of_its_time() -> None:
    prices = load_prices()
    estimate = estimate_run(recipe(kind="lambda"), prices, shards=1, function_memory_mb=2048)
    (attempt,) = estimate.attempts
    assert (attempt.backend, attempt.instance_type, attempt.keep_alive_s) == ("lambda", "lambda-2048mb", 0)
    second = 2 * prices.function_gb_second["x86_64"] + 9.5 * prices.function_storage_gb_second
    assert estimate.training_usd == pytest.approx(3600 * second, abs=1e-4)
    larger = estimate_run(recipe(kind="lambda"), prices, shards=1, function_memory_mb=4096)
    assert larger.training_usd > 1.9 * estimate.training_usd


def test_without_a_stack_the_worst_case_is_that_of_the_recipes_memory_or_of_the_default() -> None:
    names = [
        estimate_run(recipe(kind="lambda", **more), load_prices(), shards=1).attempts[0].instance_type
        for more in ({"memory_mb": 5000}, {})
    ]
    assert names == ["lambda-5000mb", "lambda-3008mb"]
