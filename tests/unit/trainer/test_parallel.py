"""Several processes are one training: the same losses and weights, and the same bits after a stop or a kill."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from lehr_trainer import main
from lehr_trainer.parallel import Agreement, Group
from lehr_trainer.tuning import Tuning

MakeJob = Callable[..., Any]
RECORDER = Path(__file__).with_name("recorder.py")
WHOSE = {"LEHR_PROJECT": "digits", "LEHR_RUN": "run-1", "LEHR_TRIAL": "0"}
TWO = "[backend]\nprocesses_per_instance = 2\n"
WITHOUT_CHANCE = 'name = "mlp"\nhidden = [16]\ndropout = 0.0\n'
# 605 rows in batches of 64: ten steps an epoch, the last of 29 rows, which two processes do not halve.
THREE_HUNDRED_STEPS: dict[str, Any] = {"rows": 605, "batch_size": 64, "epochs": 30, "learning_rate": 0.01}
# Its first layer is large enough to be gathered by itself where a model is cut up.
WIDE = 'name = "mlp"\nhidden = [1300]\ndropout = 0.0\n'
NORMED = 'name = "custom"\nfactory = "digit_model:build"\n'
CODE = """
from torch import nn

def build(input_shape, classes):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(676, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes)
    )
"""
# Adam's first steps have the size of the rate whatever the gradient's, and make much of rounding.
FEW_STEPS: dict[str, Any] = {
    "rows": 93,
    "batch_size": 16,
    "epochs": 4,
    "optimizer": "sgd",
    "learning_rate": 0.1,
}
TOLERANCE = 1e-5
# Below those that systems give out by themselves; a test of this folder opens no socket to ask for one.
PORTS = itertools.count()


def losses(job: Any, processes: int, fault: str = "") -> list[float]:
    """Every step's loss of a training in so many processes, each a row of the sum over the batch."""
    port = 20_000 + (os.getpid() * 7 + next(PORTS)) % 10_000
    files = [job.root / f"losses-{rank}.json" for rank in range(processes)]
    started = []
    for rank, file in enumerate(files):
        place = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        command = [sys.executable, str(RECORDER), str(job.root), str(file), *([fault] if fault else [])]
        started.append(subprocess.Popen(command, env=os.environ | WHOSE | place))
    assert [process.wait(timeout=120) for process in started] == [0] * processes, job.failure
    parts = [json.loads(file.read_text()) for file in files]
    return [sum(step) for step in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        pytest.param(WITHOUT_CHANCE, {}, id="plain"),
        pytest.param(
            WIDE,
            {"sharding": "fsdp", "ema_decay": 0.9, "clip_norm": 0.5, "epochs": 3, "learning_rate": 0.001},
            id="fsdp",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            WITHOUT_CHANCE + "\n[augment]\ncrop_padding = 2\n",
            {
                "class_weights": "balanced",
                "clip_norm": 0.5,
                "accumulate_steps": 2,
                "ema_decay": 0.9,
                "epochs": 5,
            },
            id="settings",
            marks=pytest.mark.slow,
        ),
        pytest.param(NORMED, {"code": CODE}, id="batch-norm", marks=pytest.mark.slow),
    ],
)
def test_two_processes_reproduce_the_losses_of_one(
    make_job: MakeJob, record_property: Any, model: str, settings: dict[str, Any]
) -> None:
    settings = (FEW_STEPS if model == NORMED else THREE_HUNDRED_STEPS) | settings
    one = make_job(model=model, **{name: value for name, value in settings.items() if name != "sharding"})
    two = make_job(model=model, **settings)
    alone, together = losses(one, 1), losses(two, 2)
    rows = settings["batch_size"] * settings.get("accumulate_steps", 1)
    worst = max(abs(a - b) for a, b in zip(alone, together, strict=True)) / rows
    print(f"{len(alone)} steps: the losses of two processes differ by at most {worst:.2e}")
    record_property("largest_difference_of_losses", worst)
    assert worst < TOLERANCE
    assert alone[-1] < alone[0]
    for record, expected in zip(two.summary.epochs, one.summary.epochs, strict=True):
        assert record.validation_loss == pytest.approx(expected.validation_loss, abs=TOLERANCE)
        assert record.accuracy == expected.accuracy
    assert (one.summary.processes, two.summary.processes) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "model", "settings"),
    [
        ("unweighted", WITHOUT_CHANCE, THREE_HUNDRED_STEPS | {"epochs": 3}),
        pytest.param(
            "unreduced", WITHOUT_CHANCE, THREE_HUNDRED_STEPS | {"epochs": 3}, marks=pytest.mark.slow
        ),
        pytest.param("unsynchronised", NORMED, FEW_STEPS | {"code": CODE}, marks=pytest.mark.slow),
    ],
)
def test_without_a_part_of_the_exchange_the_losses_are_others(
    make_job: MakeJob, fault: str, model: str, settings: dict[str, Any]
) -> None:
    alone = losses(make_job(model=model, **settings), 1)
    together = losses(make_job(model=model, **settings), 2, fault)
    largest = max(abs(a - b) for a, b in zip(alone, together, strict=True)) / settings["batch_size"]
    assert largest > 10 * TOLERANCE


@pytest.mark.parametrize(
    ("others_s", "questions"),
    [(1e-9, 2), (0.02, 11), (10.0, 100)],
    ids=["fast steps are asked about rarely", "by the slowest process", "slow steps each"],
)
def test_how_often_processes_ask_one_another_follows_the_slowest(others_s: float, questions: int) -> None:
    asked = []

    class Two(Group):
        """With another process that wishes nothing and takes `others_s` for a step."""

        def largest(self, *numbers: float) -> tuple[float, ...]:
            asked.append(numbers)
            return (*numbers[:-1], max(numbers[-1], others_s))

    agree = Agreement(Two(rank=0, size=2))
    heard = [agree(True) for _ in range(100)]
    assert heard[0] == (True,)
    assert heard.count((True,)) == len(asked) <= questions
    if others_s == 10.0:
        assert len(asked) == 100


def test_one_process_hears_itself_at_every_step() -> None:
    agree = Agreement(Group())
    assert [agree(step == 3, False) for step in range(5)] == [(step == 3, False) for step in range(5)]


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_the_shares_of_a_batch_are_its_rows_once_and_their_weights_average_to_one(rows: int) -> None:
    batch = torch.arange(100, 100 + rows)
    draws = torch.rand(rows, 4)
    shares = [Group(rank=rank, size=3).share(batch, draws) for rank in range(3)]
    seen = torch.cat([share.rows[: share.count] for share in shares])
    assert sorted(seen.tolist()) == batch.tolist()
    assert sum(share.weight for share in shares) / 3 == pytest.approx(1.0)
    for share in shares:
        assert len(share.rows) == len(share.draws) == max(share.count, 1)
        assert torch.equal(share.draws, draws[share.rows - 100])
    assert Group().share(batch, draws).weight == 1.0


class _OnAnotherHost(Group):
    def of_first(self, value: Any) -> Any:
        return Tuning(2) if isinstance(value, Tuning) else value


@pytest.mark.usefixtures("without_export")
def test_every_process_runs_with_the_threads_of_the_first(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "joined", lambda *_: nullcontext(_OnAnotherHost()))
    job = make_job(epochs=1)
    assert job.run(LEHR_THREADS="1") == 0
    assert job.summary.threads == 2
