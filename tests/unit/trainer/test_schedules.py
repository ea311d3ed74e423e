"""Schedules are those of torch, as functions of the update's number."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from lehr.contracts.recipe_tables import Training
from lehr_trainer.schedules import learning_rate

TOTAL = 50
RATE = 0.3


def _cosine(optimizer: Any) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL)


def _cosine_to_a_tenth(optimizer: Any) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL, eta_min=RATE / 10)


def _step(optimizer: Any) -> Any:
    return lr_scheduler.MultiStepLR(optimizer, milestones=[25, 40], gamma=0.1)


def _constant(optimizer: Any) -> Any:
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _warmup(optimizer: Any) -> Any:
    return lr_scheduler.LinearLR(optimizer, start_factor=1 / 10, total_iters=9)


def _warm_step(optimizer: Any) -> Any:
    return lr_scheduler.ChainedScheduler(
        [_warmup(optimizer), lr_scheduler.MultiStepLR(optimizer, milestones=[25], gamma=0.5)], optimizer
    )


def _warm_cosine(optimizer: Any) -> Any:
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL - 10)
    return lr_scheduler.SequentialLR(optimizer, [_warmup(optimizer), cosine], milestones=[10])


def _one_cycle(optimizer: Any) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=TOTAL, cycle_momentum=False)


def _short_one_cycle(optimizer: Any) -> Any:
    return lr_scheduler.OneCycleLR(
        optimizer, max_lr=RATE, total_steps=TOTAL, pct_start=0.1, cycle_momentum=False
    )


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({}, _constant),
        ({"warmup_fraction": 0.2}, _warmup),
        ({"schedule": "step", "milestones": (0.5, 0.8)}, _step),
        (
            {"schedule": "step", "milestones": (0.5,), "decay_factor": 0.5, "warmup_fraction": 0.2},
            _warm_step,
        ),
        ({"schedule": "cosine"}, _cosine),
        ({"schedule": "cosine", "final_fraction": 0.1}, _cosine_to_a_tenth),
        ({"schedule": "cosine", "warmup_fraction": 0.2}, _warm_cosine),
        ({"schedule": "one_cycle"}, _one_cycle),
        ({"schedule": "one_cycle", "warmup_fraction": 0.1}, _short_one_cycle),
    ],
)
def test_a_schedule_is_torchs(settings: dict[str, Any], make: Any) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    with warnings.catch_warnings():
        # SequentialLR's own way of stepping is deprecated within torch.
        warnings.simplefilter("ignore")
        scheduler = make(optimizer)
        expected = []
        for _ in range(TOTAL):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    training = Training(learning_rate=RATE, **settings)
    found = [learning_rate(training, update, TOTAL) for update in range(TOTAL)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [None, 0.3, 0.9])
def test_a_short_training_has_a_rate_at_every_update(schedule: Any, total: int, warmup: float | None) -> None:
    training = Training(schedule=schedule, milestones=(0.5,), warmup_fraction=warmup)
    rates = [learning_rate(training, update, total) for update in range(total)]
    assert all(0 < rate <= training.learning_rate for rate in rates)


def test_the_recipes_rate_is_untouched_by_a_constant_schedule() -> None:
    assert learning_rate(Training(learning_rate=0.1234567891234567), 3, 7) == 0.1234567891234567
