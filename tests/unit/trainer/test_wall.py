"""A training ends where its money does, with the best that it has; and can be made again, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lehr_trainer.wall import Wall

MakeJob = Callable[..., Any]
ENDLESS = {"epochs": 5000, "batch_size": 50, "learning_rate": 0.05}

pytestmark = pytest.mark.usefixtures("without_export")


def walled(job: Any, **ends: int) -> Any:
    """The job, which was told where to end."""
    job.set_hyperparameters(**{name: str(value) for name, value in ends.items()})
    return job


def test_a_training_ends_at_its_wall_and_its_best_epoch_is_the_model(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = walled(make_job(**ENDLESS), wall_s=1)
    assert job.run() == 0
    summary = job.summary
    assert 1 <= len(summary.epochs) < ENDLESS["epochs"]
    best = min(summary.epochs, key=lambda record: record.validation_loss)
    assert summary.best_epoch == best.epoch
    assert summary.figures().loss == best.validation_loss
    printed = capsys.readouterr().out
    assert (
        f"ended at its wall after update {summary.wall_update}, in epoch {len(summary.epochs)} of" in printed
    )
    assert f"the weights are those of epoch {best.epoch}, the best by validation_loss" in printed


def test_what_ended_at_a_wall_is_made_again_bit_for_bit(make_job: MakeJob) -> None:
    first = walled(make_job(**ENDLESS), wall_s=1)
    assert first.run() == 0
    again = walled(make_job(**ENDLESS), last_update=first.summary.wall_update)
    assert again.run() == 0
    assert again.summary.weights_sha256 == first.summary.weights_sha256
    assert again.summary.wall_update == first.summary.wall_update
    assert again.summary.best_epoch == first.summary.best_epoch


def test_one_update_is_made_however_little_money_there_is(make_job: MakeJob) -> None:
    job = walled(make_job(**ENDLESS), wall_s=0)
    assert job.run() == 0
    summary = job.summary
    assert (summary.wall_update, summary.best_epoch, len(summary.epochs)) == (1, 1, 1)
    # The sums are those of the rows that were seen, not of all.
    assert 1 < summary.epochs[0].loss < 10
    assert summary.epochs[0].samples_per_second == pytest.approx(50 / summary.epochs[0].seconds)


def test_without_held_out_rows_the_model_is_that_of_the_wall(make_job: MakeJob) -> None:
    job = walled(make_job(held_out=0, **ENDLESS), last_update=30)
    assert job.run() == 0
    assert (job.summary.wall_update, job.summary.best_epoch) == (30, None)
    rows = [round(record.samples_per_second * record.seconds) for record in job.summary.epochs]
    assert rows == [600, 600, 300]


def test_a_wall_that_is_not_reached_changes_no_bit(make_job: MakeJob) -> None:
    free, far = make_job(epochs=3), walled(make_job(epochs=3), wall_s=3600)
    assert free.run() == 0
    assert far.run() == 0
    assert far.summary.weights_sha256 == free.summary.weights_sha256
    assert (far.summary.wall_update, far.summary.best_epoch) == (None, None)


def test_the_seconds_of_all_jobs_count_and_one_that_has_ended_trains_no_more(
    make_job: MakeJob, stop_after: Any
) -> None:
    job, stop = walled(make_job(**ENDLESS), wall_s=3600), stop_after(30)
    assert job.run(stop) == 0
    walled(job, wall_s=0)
    assert job.run() == 0
    ended = job.summary
    assert ended.wall_update == stop.stopped.ended + 1
    # As its container is started once more after the end, or as the next rung.
    walled(job, wall_s=0, rung_epochs=4000)
    assert job.run() == 0
    assert job.summary.weights_sha256 == ended.weights_sha256
    assert job.summary.wall_update == ended.wall_update


def test_seconds_are_counted_on_from_a_checkpoint() -> None:
    now = [100.0]
    first = Wall(60, began=90.0, clock=lambda: now[0])
    assert (first.spent_s, first.is_spent) == (10.0, False)
    now[0] = 130.0
    state = json.loads(json.dumps(first.state()))
    second = Wall(60, began=1000.0, clock=lambda: now[0])
    now[0] = 1019.0
    second.restore(state)
    assert (second.spent_s, second.is_spent) == (59.0, False)
    now[0] = 1020.0
    assert second.is_spent
    assert not Wall().is_set
    assert not Wall().is_spent
