"""Which backend is recommended, and that the reason says what decided."""

from __future__ import annotations

import dataclasses

import pytest

from lehr.contracts.recipe_tables import Backend
from lehr.model_size import ModelSize
from lehr.planner import Plan, Work, plan
from lehr.prices import load_prices

PRICES = load_prices()
MNIST = Work(rows=58_800, row_bytes=784, epochs=5, rows_per_update=32, size=ModelSize(101_770, 101_632))


def planned(**changes: object) -> Plan:
    return plan(_changed(**changes), Backend(), PRICES)


def _changed(**changes: object) -> Work:
    return dataclasses.replace(MNIST, **changes)  # type: ignore[arg-type]


def test_a_small_model_is_for_a_function_because_an_instance_takes_longer_to_start() -> None:
    found = planned()
    assert (found.best.backend, found.best.machine) == ("lambda", "lambda-3008mb")
    assert found.best.training_s < 60
    assert "start of an instance alone takes about 3 min" in found.reason


def test_a_resnet_on_many_rows_is_for_a_gpu_and_the_reason_says_what_a_function_would_take() -> None:
    found = planned(
        rows=50_000, row_bytes=3072, epochs=100, rows_per_update=128, size=ModelSize(272_474, 40_800_000)
    )
    assert found.best.machine in {"ml.g4dn.xlarge", "ml.g5.xlarge", "ml.g6.xlarge"}
    assert "A function" in found.reason
    function = next(way for way in found.ways if way.backend == "lambda")
    assert "more than 6 h" in function.obstacle


def test_batch_is_for_a_training_whose_saving_is_worth_subnets() -> None:
    long = planned(
        rows=5_000_000,
        row_bytes=3072,
        epochs=90,
        rows_per_update=256,
        size=ModelSize(25_000_000, 500_000_000),
    )
    assert long.best.backend == "batch"
    rival = next(
        way for way in long.ways if way.backend == "sagemaker" and way.machine == f"ml.{long.best.machine}"
    )
    assert rival.usd - long.best.usd > 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": 2_000_000, "epochs": 1}, "MB of memory, and the function has 3008"),
        ({"size": ModelSize(500_000_000, 1)}, "MB of memory, and the function has 3008"),
        ({"epochs": 100_000}, "h of slices"),
    ],
)
def test_what_a_function_cannot_hold_is_no_way_and_says_so(changes: dict[str, object], told: str) -> None:
    found = planned(**changes)
    assert found.best.backend != "lambda"
    function = next(way for way in found.ways if way.backend == "lambda")
    assert told in function.obstacle
    assert found.ways[-1] == function


def test_a_larger_function_is_faster_and_may_hold_more() -> None:
    large = _changed(rows=2_000_000, epochs=1, size=ModelSize(2_000_000, 2_000_000))
    small, big = (plan(large, Backend(memory_mb=memory), PRICES) for memory in (3008, 10_240))
    first, second = (next(way for way in found.ways if way.backend == "lambda") for found in (small, big))
    assert first.obstacle
    assert not second.obstacle
    assert second.training_s < first.training_s


def test_the_recommended_way_takes_no_more_than_half_as_long_again_as_the_fastest() -> None:
    for epochs in (1, 10, 100, 1000):
        found = planned(epochs=epochs, size=ModelSize(2_000_000, 20_000_000))
        fastest = min(way.seconds for way in found.ways if not way.obstacle)
        assert found.best.seconds <= 1.5 * fastest
