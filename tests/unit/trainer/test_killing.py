"""A training is killed again and again, wherever it is, and ends with the bits of one that nobody touched.

    pytest tests/unit/trainer/test_killing.py                            10 kills
    pytest tests/unit/trainer/test_killing.py -m 'slow or not slow'      and 200, of which 20 within a write

A kill counts once the process has died of it, and is one within a write if it left an unfinished file behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MakeJob = Callable[..., Any]
Report = Callable[[str, object], None]
ENVIRONMENT = {"LEHR_PROJECT": "digits", "LEHR_RUN": "run-1", "LEHR_TRIAL": "0"}
SERVER = Path(__file__).with_name("forked_trainings.py")
HOW = {"fsync_s": 0.003, "checkpoint_every_s": 0.02, "forget_rng": False}
# 200 steps an epoch; dropout, an average, a schedule and momentum all have to be continued.
SETTINGS = {"rows": 1000, "batch_size": 5, "epochs": 5, "ema_decay": 0.9, "schedule": "cosine", "patience": 5}
STEPS = 1000
# Where the kills of a round are aimed: all but the last come in any order.
AIMS = ("anywhere", "after a checkpoint", "after a checkpoint", "within a write", "within a write")
LAST_AIM = "after the last step"
LIMIT_S = 60.0


@dataclass
class Trainings:
    """Forks of one process that has torch loaded."""

    process: subprocess.Popen[str]

    @classmethod
    @contextlib.contextmanager
    def serving(cls, **how: Any) -> Iterator[Trainings]:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), json.dumps(HOW | how)],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        trainings = cls(process)
        try:
            assert trainings._line() == "ready"
            yield trainings
        finally:
            assert process.stdin
            assert process.stdout
            process.stdin.close()
            process.wait(timeout=LIMIT_S)
            process.stdout.close()

    def start(self, root: Path) -> int:
        """The process id of a training under `root`."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"root": str(root), "log": str(root / "log")}) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """The exit status of the training that was started last, once it has ended."""
        return int(self._line())

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@dataclass
class Killer:
    """Kills trainings at moments that its seed decides, and counts."""

    trainings: Trainings
    seed: int
    landed: Counter[str] = field(default_factory=Counter)
    within_a_write: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def kill_often(self, job: Any) -> None:
        """A round: kills at each of the aims, until the job is over."""
        for aim in (*self._random.sample(AIMS, len(AIMS)), LAST_AIM):
            if not self.kill(job, aim):
                return

    def kill(self, job: Any, aim: str) -> bool:
        """Start the job and kill it; whether it died of that. False: it was over before."""
        before = {path.name for path in job.checkpoints}
        process = self.trainings.start(job.root)
        self._wait(aim, job, process, before)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        status = self.trainings.end()
        assert status in (0, -signal.SIGKILL), (job.root / "log").read_text()[-2000:]
        if status == 0:
            return False
        self.landed[aim] += 1
        self.within_a_write += any((job.root / "checkpoints").glob("*.unfinished"))
        return True

    def _wait(self, aim: str, job: Any, process: int, before: set[str]) -> None:
        folder = job.root / "checkpoints"

        def names() -> list[str]:
            return os.listdir(folder) if folder.is_dir() else []

        def wait_until(has_come: Callable[[], bool]) -> None:
            deadline = time.monotonic() + LIMIT_S
            while not has_come() and not _is_over(process):
                assert time.monotonic() < deadline, aim
                time.sleep(0.0005)  # a write takes ten times as long

        def is_new() -> bool:
            return any(name.endswith(".checkpoint") and name not in before for name in names())

        if aim == "anywhere":
            time.sleep(self._random.uniform(0, 0.6))
        elif aim == LAST_AIM:
            wait_until(lambda: any(name.endswith(f"-{STEPS:012d}.checkpoint") for name in names()))
            time.sleep(self._random.uniform(0, 0.5))
        else:
            wait_until(is_new)
            time.sleep(self._random.uniform(0, 0.1))
            if aim == "within a write":
                # A write takes two syncs; the first is of the file.
                wait_until(lambda: any(name.endswith(".unfinished") for name in names()))


def _is_over(process: int) -> bool:
    """Whether it is gone, or a zombie that its parent has not waited for yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def outcome(job: Any) -> dict[str, Any]:
    """All of what a finished job decided, apart from times."""
    summary = job.summary
    return {
        "weights": summary.weights_sha256,
        "graph": hashlib.sha256((job.root / "model/model.onnx").read_bytes()).hexdigest(),
        "epochs": [(record.loss, record.validation_loss, record.accuracy) for record in summary.epochs],
        "best_epoch": summary.best_epoch,
    }


def finish(trainings: Trainings, job: Any) -> dict[str, Any]:
    trainings.start(job.root)
    assert trainings.end() == 0, (job.root / "log").read_text()[-2000:]
    return outcome(job)


@pytest.mark.parametrize(
    ("kills", "within_a_write"),
    [pytest.param(10, 2, id="quick"), pytest.param(200, 20, id="full", marks=pytest.mark.slow)],
)
def test_a_training_that_is_killed_anywhere_ends_with_the_bits_of_one_that_is_not(
    make_job: MakeJob, record_property: Report, kills: int, within_a_write: int
) -> None:
    rounds = 0
    with Trainings.serving() as trainings:
        expected = finish(trainings, make_job(**SETTINGS))
        killer = Killer(trainings, seed=20)
        while killer.landed.total() < kills or killer.within_a_write < within_a_write:
            assert rounds < kills / 2, f"too few kills land: {killer.landed}"
            job = make_job(**SETTINGS)
            killer.kill_often(job)
            assert finish(trainings, job) == expected, f"round {rounds}, seed {killer.seed}"
            rounds += 1
    record_property("landed", dict(killer.landed))
    record_property("within_a_write", killer.within_a_write)
    record_property("rounds", rounds)
    print(
        f"{killer.landed.total()} kills in {rounds} rounds, {killer.within_a_write} within a write: {killer.landed}"
    )
    assert set(killer.landed) == {*AIMS, LAST_AIM}, "each kind of kill is to land"


def test_without_the_random_streams_a_killed_training_is_another_one(make_job: MakeJob) -> None:
    """The negative control: were no kill to land between two steps, it would end with the same bits."""
    with Trainings.serving(forget_rng=True) as trainings:
        expected = finish(trainings, make_job(**SETTINGS))
        killer, job = Killer(trainings, seed=21), make_job(**SETTINGS)
        assert killer.kill(job, "after a checkpoint")
        assert finish(trainings, job)["weights"] != expected["weights"]


def test_a_stop_is_durable_in_the_time_that_is_recorded(make_job: MakeJob, record_property: Report) -> None:
    with Trainings.serving(checkpoint_every_s=60.0) as trainings:
        expected = finish(trainings, make_job(**SETTINGS))
        job = make_job(**SETTINGS)
        process = trainings.start(job.root)
        while not job.checkpoints:
            time.sleep(0.001)
        asked = time.monotonic()
        os.kill(process, signal.SIGTERM)
        assert trainings.end() == 0
        record_property("seconds", time.monotonic() - asked)
        assert "resumable" in (job.root / "log").read_text()
        assert finish(trainings, job) == expected
