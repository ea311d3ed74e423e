"""A run that is killed and started again ends with the same bits as one that was not."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lehr_trainer import progress, train
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.learner import Learner

MakeJob = Callable[..., Any]
Kill = Callable[[subprocess.Popen[str], signal.Signals], str]

# A step per row: about a second for each epoch, so that a signal lands within one.
SLOW = {"rows": 1000, "batch_size": 1, "epochs": 3}


pytestmark = pytest.mark.usefixtures("without_export")


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return {}


@pytest.fixture
def uninterrupted(make_job: MakeJob, known: dict[str, Any]) -> Callable[..., Any]:
    """The summary of a run that nothing disturbs; computed once for each setting."""

    def summary(**settings: Any) -> Any:
        if repr(settings) not in known:
            job = make_job(**settings)
            assert job.run() == 0
            known[repr(settings)] = job.summary
        return known[repr(settings)]

    return summary


def _wait_for(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"the process ended without a line {start!r}")


def test_a_run_stopped_by_sigterm_within_an_epoch_resumes_bit_for_bit(
    make_job: MakeJob, kill: Kill, uninterrupted: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(**SLOW)
    process = job.start()
    _wait_for(process, "epoch 1/3")
    time.sleep(0.1)
    output = kill(process, signal.SIGTERM)
    assert process.returncode == 0
    stopped = re.search(r"stopped at epoch (\d) step (\d+); resumable", output)
    assert stopped, output
    epoch, step = stopped.groups()
    assert (epoch, step) != ("3", "1000"), "the signal was meant to land before the end"
    assert not job.failure
    assert job.run() == 0
    assert f"resumed at epoch {epoch} step {step}" in capsys.readouterr().out
    whole = uninterrupted(**SLOW)
    assert job.summary.weights_sha256 == whole.weights_sha256
    assert [record.loss for record in job.summary.epochs] == [record.loss for record in whole.epochs]


def test_a_run_killed_after_a_checkpoint_resumes_bit_for_bit(
    make_job: MakeJob, kill: Kill, uninterrupted: Callable[..., Any]
) -> None:
    job = make_job(**SLOW)
    process = job.start()
    _wait_for(process, "epoch 1/3")
    while not job.checkpoints:
        time.sleep(0.005)
    time.sleep(0.1)
    kill(process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert job.run() == 0
    assert job.summary.weights_sha256 == uninterrupted(**SLOW).weights_sha256


@pytest.mark.parametrize("steps", [1, 18, 19, 20, 30])
def test_stopping_at_any_step_changes_nothing(
    make_job: MakeJob, stop_after: Any, uninterrupted: Callable[..., Any], steps: int
) -> None:
    job = make_job()
    assert job.run(stop_after(steps)) == 0
    assert not (job.root / "model").exists()
    assert job.run() == 0
    whole = uninterrupted()
    assert job.summary.weights_sha256 == whole.weights_sha256
    assert [record.accuracy for record in job.summary.epochs] == [record.accuracy for record in whole.epochs]


# 600 rows in batches of 32: 19 steps an epoch, of 2 batches 10.
OWN_CODE = """
import torch


def loss(logits, labels):
    return torch.nn.functional.multi_margin_loss(logits, labels)


def augment(pixels, generator):
    kept = torch.rand(pixels.shape, generator=generator, device=pixels.device) < 0.9
    return pixels * kept + 0.01 * torch.rand_like(pixels)


def optimizer(model, learning_rate):
    return torch.optim.RAdam(model.parameters(), lr=learning_rate, decoupled_weight_decay=True)
"""
OWN = {
    name: f'name = "mlp"\nhidden = [16]\n[hooks]\n{name} = "digit_model:{name}"\n'
    for name in ("loss", "augment", "optimizer")
}
EVERYTHING = {
    "optimizer": "muon",
    "weight_decay": 0.01,
    "clip_norm": 0.5,
    "schedule": "one_cycle",
    "loss": "focal",
    "class_weights": "balanced",
    "accumulate_steps": 2,
    "ema_decay": 0.9,
    "patience": 1,
    "precision": "bfloat16",
    "freeze": ("1.bias",),
    "epochs": 3,
}


@pytest.mark.parametrize("steps", [5, 13])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.1},
        {"optimizer": "rmsprop", "momentum": 0.5},
        {"optimizer": "muon"},
        {"schedule": "step", "milestones": (0.3, 0.6), "warmup_fraction": 0.2},
        {"schedule": "cosine", "warmup_fraction": 0.1},
        {"schedule": "one_cycle"},
        {"loss": "focal", "class_weights": "balanced"},
        {"label_smoothing": 0.1, "clip_norm": 0.1},
        {"accumulate_steps": 3},
        {"ema_decay": 0.9},
        {"patience": 1, "learning_rate": 0.1, "epochs": 6},
        {"precision": "bfloat16"},
        {"freeze": ("1.*",)},
        *({"model": recipe, "code": OWN_CODE} for recipe in OWN.values()),
        EVERYTHING,
    ],
    ids=lambda settings: "-".join(settings) if len(settings) < 5 else "everything",
)
def test_a_resumed_run_has_the_same_bits_with_every_setting(
    make_job: MakeJob,
    stop_after: Any,
    uninterrupted: Callable[..., Any],
    settings: dict[str, Any],
    steps: int,
) -> None:
    job = make_job(**settings)
    assert job.run(stop_after(steps)) == 0
    assert not (job.root / "model").exists()
    assert job.run() == 0
    whole = uninterrupted(**settings)
    assert job.summary.weights_sha256 == whole.weights_sha256
    assert job.summary.best_epoch == whole.best_epoch
    for record, expected in zip(job.summary.epochs, whole.epochs, strict=True):
        assert (record.loss, record.validation_loss) == (expected.loss, expected.validation_loss)


def test_the_start_again_of_a_run_that_ended_early_only_exports(make_job: MakeJob) -> None:
    job = make_job(patience=1, learning_rate=0.1, epochs=20, ema_decay=0.5)
    assert job.run() == 0
    first = job.summary
    assert len(first.epochs) < 20
    assert job.run() == 0
    assert job.summary == first


LATE = {"learning_rate": 0.1, "ema_decay": 0.9, "patience": 3, "epochs": 5}


def test_the_best_epoch_of_before_the_stop_is_remembered(
    make_job: MakeJob, stop_after: Any, uninterrupted: Callable[..., Any]
) -> None:
    job = make_job(**LATE)
    assert job.run(stop_after(70)) == 0
    assert job.run() == 0
    whole = uninterrupted(**LATE)
    assert (job.summary.weights_sha256, job.summary.best_epoch) == (whole.weights_sha256, whole.best_epoch)


def test_a_stop_within_a_validation_is_answered_there_and_resumes_with_it(
    make_job: MakeJob,
    stop_after: Any,
    uninterrupted: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The state is that of after the last update, and not the average that is being validated."""
    monkeypatch.setattr("lehr_trainer.measuring.EVALUATION_ROWS", 25)
    job = make_job(**LATE)
    # 19 looks after updates, and one before each of the four parts of a validation.
    assert job.run(stop_after(22)) == 0
    assert "stopped at epoch 1 step 19; resumable" in capsys.readouterr().out
    assert len(job.checkpoints) == 1
    assert job.run() == 0
    assert "resumed at epoch 1 step 19" in capsys.readouterr().out
    whole = uninterrupted(**LATE)
    assert (job.summary.weights_sha256, job.summary.best_epoch) == (whole.weights_sha256, whole.best_epoch)


@pytest.mark.parametrize("lost", ["average", "optimizer"])
def test_without_a_part_of_its_state_a_resumed_run_is_another_run(
    make_job: MakeJob,
    stop_after: Any,
    uninterrupted: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    job = make_job(**LATE)
    assert job.run(stop_after(70)) == 0
    whole = Learner.load_state_dict

    def forget(self: Learner, state: Any) -> None:
        whole(self, state | {lost: self.state_dict()[lost]})

    monkeypatch.setattr(Learner, "load_state_dict", forget)
    assert job.run() == 0
    assert job.summary.weights_sha256 != uninterrupted(**LATE).weights_sha256


def test_without_the_random_streams_a_resumed_run_is_another_run(
    make_job: MakeJob,
    stop_after: Any,
    uninterrupted: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job()
    assert job.run(stop_after(7)) == 0
    monkeypatch.setattr(progress, "restore_rng", lambda state: None)
    assert job.run() == 0
    assert job.summary.weights_sha256 != uninterrupted().weights_sha256


def test_a_checkpoint_at_every_step_changes_nothing(
    make_job: MakeJob, uninterrupted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = uninterrupted(batch_size=100)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", 0.0)
    job = make_job(batch_size=100)
    assert job.run() == 0
    assert job.summary.weights_sha256 == whole.weights_sha256
    assert len(job.checkpoints) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    make_job: MakeJob,
    stop_after: Any,
    uninterrupted: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    job = make_job()
    assert job.run(stop_after(25)) == 0
    _, newest = job.checkpoints
    raw = newest.read_bytes()
    spoilt = {"truncated": raw[:-1], "flipped": raw[:-1] + bytes([raw[-1] ^ 1]), "emptied": b""}
    newest.write_bytes(spoilt[damage])
    capsys.readouterr()
    assert job.run() == 0
    output = capsys.readouterr().out
    assert f"discarded {newest.name}" in output
    assert "resumed at epoch 2 step 0" in output
    assert job.summary.weights_sha256 == uninterrupted().weights_sha256
    assert newest not in job.checkpoints


def test_a_checkpoint_of_other_settings_is_left_alone(
    make_job: MakeJob, stop_after: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    assert job.run(stop_after(25)) == 0
    foreign = job.checkpoints
    job.set_hyperparameters(seed="5")
    capsys.readouterr()
    assert job.run() == 0
    output = capsys.readouterr().out
    assert "ignored 2 checkpoints of other settings, data or code" in output
    assert "resumed" not in output
    assert set(foreign) < set(job.checkpoints)


def test_a_finished_run_started_again_only_exports(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    assert job.run() == 0
    first = job.summary
    capsys.readouterr()
    assert job.run() == 0
    assert "resumed at epoch 3 step 0" in capsys.readouterr().out
    assert job.summary == first


def test_only_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, {"run": "1"})
    for step in (1, 2, 10):
        folder.save(step, {"weights": torch.full((3,), float(step)), "note": "kept"})
    assert [int(path.stem.split("-")[1]) for path in sorted(tmp_path.iterdir())] == [2, 10]
    state = folder.load()
    assert state is not None
    assert torch.equal(state["weights"], torch.full((3,), 10.0))


def test_a_renamed_checkpoint_of_another_run_is_not_resumed(tmp_path: Path) -> None:
    lines: list[str] = []
    mine = CheckpointFolder(tmp_path, {"run": "mine"}, lines.append)
    name = mine.save(5, {"step": 5}).name
    CheckpointFolder(tmp_path, {"run": "yours"}).save(9, {"step": 9}).replace(tmp_path / name)
    assert mine.load() is None
    assert lines == [f"ignored {name}: it is of run yours"]


def test_a_half_written_checkpoint_is_swept_away(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, {"run": "1"})
    unfinished = folder.save(1, {"step": 1}).with_suffix(".unfinished")
    unfinished.write_bytes(b"half")
    state = folder.load()
    assert state == {"step": 1}
    assert not unfinished.exists()


def test_a_state_that_cannot_be_read_safely_is_ignored(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = CheckpointFolder(tmp_path, {"run": "1"}, lines.append)
    folder.save(1, {"path": tmp_path})
    assert folder.load() is None
    assert "more than tensors and plain values" in lines[0]
