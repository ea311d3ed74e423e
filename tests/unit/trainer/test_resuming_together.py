"""A job of two processes that is stopped or killed, and started again, ends with the same bits as one that was not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeJob = Callable[..., Any]
TWO = "[backend]\nprocesses_per_instance = 2\n"
MLP = 'name = "mlp"\nhidden = [16]\ndropout = 0.2\n'
# Seconds for each epoch, so that a signal lands within one.
SLOW = {"rows": 1001, "batch_size": 2, "epochs": 5}
LIMIT_S = 120.0


def wait_for(process: subprocess.Popen[str], start: str) -> str:
    """The lines up to one that begins so."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        if line.startswith(start):
            return lines
    raise AssertionError(f"the process ended without a line {start!r}:\n{lines}")


def ranks_of(launcher: int) -> dict[int, int]:
    """The process ids of its ranks."""
    found = {}
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        variables = dict(
            entry.split("=", 1)
            for entry in Path(f"/proc/{child}/environ").read_text().split("\0")
            if "=" in entry
        )
        if "RANK" in variables:
            found[int(variables["RANK"])] = int(child)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=LIMIT_S)[0]


def kill_the_launcher(job: subprocess.Popen[str]) -> None:
    """Its processes go with it."""
    wait_for(job, "epoch 4/5")
    pids = ranks_of(job.pid)
    assert sorted(pids) == [0, 1]
    job.kill()
    end(job)
    deadline = time.monotonic() + 20
    while any(map(is_running, pids.values())):
        assert time.monotonic() < deadline, "processes outlived their launcher"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("sharding", "is_full"),
    [
        pytest.param("none", False, id="quick"),
        pytest.param("none", True, id="full", marks=pytest.mark.slow),
        pytest.param("fsdp", True, id="full, fsdp", marks=pytest.mark.slow),
    ],
)
def test_a_job_of_two_processes_resumes_bit_for_bit_after_every_kind_of_end(
    make_job: MakeJob, sharding: str, is_full: bool
) -> None:
    """In the quick form after a stop and the loss of a rank; in the full one of the launcher too, and after the end."""
    settings = SLOW | {"sharding": sharding, "ema_decay": 0.9, "patience": 5}
    whole, broken = (make_job(model=MLP + TWO, **settings) for _ in range(2))
    uninterrupted = whole.start()
    output = end(uninterrupted)
    assert uninterrupted.returncode == 0, output

    job = broken.start()
    wait_for(job, "epoch 1/5")
    time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    output = end(job)
    assert job.returncode == 0, output
    stopped = re.search(r"stopped at epoch (\d) step (\d+); resumable", output)
    assert stopped, output
    assert not broken.failure

    job = broken.start()
    output = wait_for(job, "epoch 3/5")
    assert f"resumed at epoch {stopped[1]} step {stopped[2]}" in output
    os.kill(ranks_of(job.pid)[1], signal.SIGKILL)
    output = end(job)
    assert job.returncode == 1
    assert broken.failure.startswith("the process of rank 1 was killed by SIGKILL"), output
    assert output.splitlines()[-1] == f"FAILED: {broken.failure}"

    if is_full:
        kill_the_launcher(broken.start())
    job = broken.start()
    output = end(job)
    assert job.returncode == 0, output
    assert broken.summary.weights_sha256 == whole.summary.weights_sha256
    assert broken.summary.processes == 2
    for record, expected in zip(broken.summary.epochs, whole.summary.epochs, strict=True):
        assert (record.loss, record.validation_loss) == (expected.loss, expected.validation_loss)

    if not is_full:
        return
    first = broken.summary
    (broken.root / "model/training.json").unlink()
    job = broken.start()
    output = end(job)
    assert job.returncode == 0, output
    assert "resumed at epoch 6 step 0" in output, "after the last step there is nothing left but the export"
    assert broken.summary.weights_sha256 == first.weights_sha256


def test_what_one_process_says_is_the_reason_of_the_job(make_job: MakeJob) -> None:
    code = (
        "import os, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = torch.nn.Linear(784, 10)\n"
        "    def forward(self, x):\n"
        "        if os.environ.get('RANK') == '1' and self.training:\n"
        "            raise ValueError('no rows for me')\n"
        "        return self.head(x.flatten(1))\n"
        "def build(input_shape, classes):\n"
        "    return Net()\n"
    )
    job = make_job(model='name = "custom"\nfactory = "digit_model:build"\n' + TWO, code=code)
    process = job.start()
    output = end(process)
    assert process.returncode == 1
    assert job.failure == "digit_model.py:8 in forward: ValueError: no rows for me"
    assert "rank 1: FAILED: " in output
    assert output.splitlines()[-1] == f"FAILED: {job.failure}"
    assert not (job.root / "model").exists()
