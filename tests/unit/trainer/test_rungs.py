"""A trial that climbs rungs of successive halving ends with the bits of one that trained without a break."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

MakeJob = Callable[..., Any]
PLANNED = {"schedule": "cosine", "epochs": 4}
EVERYTHING = PLANNED | {
    "optimizer": "muon",
    "accumulate_steps": 2,
    "ema_decay": 0.9,
    "patience": 3,
    "warmup_fraction": 0.2,
}

pytestmark = pytest.mark.usefixtures("without_export")


def tell(job: Any, **more: str) -> None:
    """Add to the hyperparameters of a job; None takes one away."""
    path = job.root / "input/config/hyperparameters.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def climb(job: Any, epochs: int) -> Any:
    tell(job, rung_epochs=str(epochs))
    assert job.run() == 0, job.failure
    return job.summary


@pytest.mark.parametrize("settings", [PLANNED, EVERYTHING])
def test_rungs_of_one_two_and_four_epochs_give_the_bits_of_four_in_one_piece(
    make_job: MakeJob, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, climbing = make_job(**settings), make_job(**settings)
    assert whole.run() == 0
    summaries = [climb(climbing, epochs) for epochs in (1, 2, 4)]
    assert [len(summary.epochs) for summary in summaries] == [1, 2, 4]
    assert "resumed at epoch 3 step 0" in capsys.readouterr().out
    assert summaries[-1].weights_sha256 == whole.summary.weights_sha256
    assert [epoch.validation_loss for epoch in summaries[-1].epochs] == [
        epoch.validation_loss for epoch in whole.summary.epochs
    ]
    assert len({summary.weights_sha256 for summary in summaries}) == 3


def test_a_rung_follows_the_plan_of_all_epochs_and_not_one_of_its_own(make_job: MakeJob) -> None:
    rung, short = make_job(**PLANNED), make_job(**PLANNED | {"epochs": 1})
    assert short.run() == 0
    assert climb(rung, 1).weights_sha256 != short.summary.weights_sha256
    assert rung.summary.epochs[0].learning_rate > 2 * short.summary.epochs[0].learning_rate


def test_a_trial_trains_the_model_that_its_point_says(make_job: MakeJob) -> None:
    wide, narrow = make_job(epochs=1), make_job(epochs=1)
    tell(narrow, **{"model.hidden": "[4]", "model.dropout": "0.0"})
    assert (wide.run(), narrow.run()) == (0, 0)
    assert narrow.summary.parameters == 784 * 4 + 4 + 4 * 10 + 10
    assert narrow.summary.parameters < wide.summary.parameters


def test_a_checkpoint_of_another_model_is_not_continued(make_job: MakeJob) -> None:
    job, alone = make_job(epochs=2), make_job(epochs=2)
    climb(job, 1)
    for one in (job, alone):
        tell(one, **{"model.hidden": "[4]"})
    assert climb(job, 2).weights_sha256 == climb(alone, 2).weights_sha256


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"model.hiden": "[4]"}, "did you mean 'hidden'"),
        ({"model.hidden": "[0]"}, "hidden"),
        ({"model.hidden": "[4"}, "hyperparameters"),
        ({"rung_epochs": "many"}, "hyperparameters"),
    ],
)
def test_a_hyperparameter_that_fits_no_model_ends_the_job_with_its_name(
    make_job: MakeJob, told: dict[str, str], words: str
) -> None:
    job = make_job()
    tell(job, **told)
    assert job.run() == 1
    assert words in job.failure
