"""A training that diverges is stopped where it did, and what it has saved is from before."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lehr_trainer import divergence, train
from lehr_trainer.divergence import LossWatch, refuse_bad_weights
from lehr_trainer.errors import DivergedError

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")

# Gives NaN from the 31st update on, which is in the second epoch of 19 updates each: by its output, or by its weights.
SPOILT = """
import torch
from torch import nn

class Spoilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        logits = self.layers(x)
        if self.training:
            self.seen += 1
            {spoil}
        return logits

def build(input_shape, classes):
    return Spoilt()
"""
CUSTOM = 'name = "custom"\nfactory = "digit_model:build"\n'
LOSS = "logits = logits + torch.where(self.seen > 30, torch.nan, 0.0)"
# The backward pass alone goes wrong: this update's loss is finite, and the weights after it are not.
GRADIENT = "logits.register_hook(lambda gradient: gradient + torch.where(self.seen > 30, torch.nan, 0.0))"


def _states(folder: Path) -> list[dict[str, Any]]:
    """What the kept checkpoints hold."""
    return [
        torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)["state"]
        for path in sorted(folder.glob("*.checkpoint"))
    ]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (LOSS, r"the loss is no longer finite at epoch 2 step 12 \(.*"),
        (GRADIENT, r"layers\.1\.weight is no longer finite after epoch 2 step 12 \(.*"),
    ],
    ids=["loss", "gradient"],
)
def test_a_checkpoint_at_every_step_never_holds_what_is_no_number(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, spoil: str, told: str
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", 0.0)
    job = make_job(model=CUSTOM, code=SPOILT.replace("{spoil}", spoil))
    assert job.run() == 1
    assert re.fullmatch(told, job.failure), job.failure
    before, last = _states(job.root / "checkpoints")
    assert [(state["epoch"], state["step"]) for state in (before, last)] == [(1, 10), (1, 11)]
    for state in (before, last):
        assert all(value.isfinite().all() for value in state["learner"]["model"].values())
        assert all(math.isfinite(own["loss_sum"]) for own in state["ranks"])


def test_without_the_look_before_a_checkpoint_it_would(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(train, "refuse_bad_weights", lambda *rest, **place: None)
    monkeypatch.setattr(LossWatch, "look", lambda *rest: None)
    job = make_job(model=CUSTOM, code=SPOILT.replace("{spoil}", LOSS), held_out=0)
    job.run()
    assert not all(
        value.isfinite().all()
        for state in _states(job.root / "checkpoints")
        for value in state["learner"]["model"].values()
    )


def test_a_request_to_stop_does_not_save_what_is_no_number(make_job: MakeJob, stop_after: Any) -> None:
    job = make_job(model=CUSTOM, code=SPOILT.replace("{spoil}", LOSS), held_out=0)
    assert job.run(stop_after(35)) == 1
    assert "no longer finite at epoch 2 step 12" in job.failure
    (end_of_first_epoch,) = _states(job.root / "checkpoints")
    assert (end_of_first_epoch["epoch"], end_of_first_epoch["step"]) == (1, 0)


def test_a_run_that_diverged_goes_on_from_its_last_good_checkpoint_once_it_is_mended(
    make_job: MakeJob, stop_after: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(model=CUSTOM, code=SPOILT.replace("{spoil}", LOSS))
    assert job.run() == 1
    capsys.readouterr()
    assert job.run() == 1, "it diverges again, since nothing has changed"
    assert "resumed at epoch 2 step 0" in capsys.readouterr().out


def test_a_loss_that_explodes_ends_the_run(make_job: MakeJob) -> None:
    job = make_job(rows=1000, batch_size=2, epochs=2, optimizer="sgd", momentum=0.99, learning_rate=30.0)
    assert job.run() == 1
    assert re.fullmatch(
        r"the loss (has exploded: \S+ on average at epoch 1 step 200, and over \S+ for the last 200 updates; it began "
        r"at 2\.\d+|is no longer finite at epoch 1 step \d+) \(lower the learning rate, or set clip_norm\)",
        job.failure,
    ), job.failure


def watch(losses: list[float], *, rows: int = 10_000) -> LossWatch:
    """One that has looked at those losses of updates of 10 rows, as the loop does."""
    one, total = LossWatch(rows=rows, rows_per_update=10, device="cpu"), torch.zeros((), dtype=torch.float64)
    for loss in losses:
        total += 10 * loss
        one.note(total)
        if one.is_due():
            one.look(1)
    one.look(1)
    return one


def test_a_loss_has_exploded_when_it_stays_ten_times_what_it_was_at_first() -> None:
    watch([2.0] + [19.0] * 900)
    with pytest.raises(
        DivergedError, match=r"21 on average at epoch 1 step 300, and over 20 for the last 200 updates"
    ):
        watch([2.0] * 100 + [21.0] * 300)


def test_a_loss_may_rise_for_a_while() -> None:
    watch([2.0] * 100 + [100.0] * 100 + [2.0] * 100 + [100.0] * 100 + [2.0] * 50)


def test_a_small_loss_at_first_is_no_measure() -> None:
    """A model that was trained before begins near 0, and new data is no explosion."""
    watch([0.001] + [5.0] * 900)
    with pytest.raises(DivergedError, match="exploded"):
        watch([0.001] + [11.0] * 900)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [1, 2, 100, 101, 150])
def test_the_update_that_went_wrong_is_named(at: int, bad: float) -> None:
    with pytest.raises(DivergedError, match=rf"no longer finite at epoch 1 step {at} "):
        watch([1.0] * (at - 1) + [bad] + [1.0] * 60)


def test_it_is_seen_within_a_hundred_updates() -> None:
    assert divergence.LOOK_EVERY_UPDATES == 100
    one = LossWatch(rows=10_000, rows_per_update=10, device="cpu")
    for _ in range(100):
        assert not one.is_due()
        one.note(torch.tensor(math.nan))
    assert one.is_due()


def test_what_was_seen_of_an_explosion_outlives_a_resume() -> None:
    state = watch([2.0] * 100 + [30.0] * 100).state()
    assert state == {"first": 2.0, "exploded_for": 100}
    resumed = LossWatch(rows=10_000, rows_per_update=10, device="cpu")
    resumed.restore(state)
    resumed.begin(0.0)
    for number in range(1, 101):
        resumed.note(torch.tensor(300.0 * number))
    with pytest.raises(DivergedError, match="for the last 200 updates; it began at 2 "):
        resumed.look(2)


def test_infinity_in_a_mask_is_no_divergence() -> None:
    model = torch.nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2, 2), -torch.inf))
    refuse_bad_weights(model, epoch=1, step=1)
    model.mask[0, 1] = torch.nan
    with pytest.raises(DivergedError, match="mask is no longer finite after epoch 1 step 5"):
        refuse_bad_weights(model, epoch=1, step=5)
