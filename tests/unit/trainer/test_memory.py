"""Out of memory: once more with half the rows at a time, and then an answer that says what to do."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lehr_trainer.divergence import LossWatch
from lehr_trainer.errors import TooLittleMemoryError
from lehr_trainer.memory import MicroBatch, is_out_of_memory, within_memory

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")

CUSTOM = 'name = "custom"\nfactory = "digit_model:build"\n'
# As CUDA does it: above so many rows there is no memory, from the 25th update on, which is the second epoch's sixth.
CODE = """
import torch
from torch import nn

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if self.training:
            self.seen += 1
            if len(x) > {fits} and self.seen > {after}:
                raise {fault}
        return self.layers(x)

def build(input_shape, classes):
    return Large()
"""
CUDA = 'torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")'
CPU = 'RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can\'t allocate memory")'


def code(*, fits: int, after: int = 24, fault: str = CUDA) -> str:
    return CODE.replace("{fits}", str(fits)).replace("{after}", str(after)).replace("{fault}", fault)


def _losses(job: Any) -> list[tuple[float, float]]:
    return [(record.loss, record.validation_loss) for record in job.summary.epochs]


@pytest.mark.parametrize("fault", [CUDA, CPU, "MemoryError()"], ids=["cuda", "cpu", "python"])
def test_a_training_without_memory_goes_on_with_half_the_rows_at_a_time(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    job = make_job(model=CUSTOM, code=code(fits=16, fault=fault), epochs=3)
    assert job.run() == 0, job.failure
    output = capsys.readouterr().out
    assert re.search(
        r"out of memory with 32 rows at a time \(.+\): goes on with 16; the rows of an update", output
    )
    assert "resumed at epoch 2 step 0" in output
    assert job.summary.micro_batch_rows == 16
    assert len(job.summary.epochs) == 3


def test_the_updates_are_those_of_the_whole_batch(make_job: MakeJob) -> None:
    """Without dropout, two halves give the gradient of the whole but for rounding."""
    plain = code(fits=16, after=0).replace("nn.Dropout(0.2), ", "")
    halved, whole = (
        make_job(model=CUSTOM, code=plain.replace("len(x) > 16", f"len(x) > {fits}"), optimizer="sgd")
        for fits in (16, 1000)
    )
    assert halved.run() == whole.run() == 0
    assert (halved.summary.micro_batch_rows, whole.summary.micro_batch_rows) == (16, 32)
    for one, other in zip(_losses(halved), _losses(whole), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_what_was_found_out_is_part_of_the_checkpoint(
    make_job: MakeJob, stop_after: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is killed after it was halved goes on with halves, and ends with the same bits."""
    undisturbed, job = (make_job(model=CUSTOM, code=code(fits=16), epochs=3) for _ in range(2))
    assert undisturbed.run() == 0
    # 19 steps and a validation, 5 steps to the failure, 3 more after it.
    assert job.run(stop_after(28)) == 0
    assert not (job.root / "model").exists()
    capsys.readouterr()
    assert job.run() == 0
    output = capsys.readouterr().out
    assert "resumed at epoch 2 step 3" in output
    assert "out of memory" not in output
    assert job.summary.micro_batch_rows == 16
    assert job.summary.weights_sha256 == undisturbed.summary.weights_sha256


def test_the_new_size_is_durable_before_the_first_update_with_it(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(model=CUSTOM, code=code(fits=16, after=0))

    def killed_here(*rest: Any) -> None:
        raise KeyError

    monkeypatch.setattr(LossWatch, "note", killed_here)
    assert job.run() == 1
    (saved,) = job.checkpoints
    state = torch.load(io.BytesIO(saved.read_bytes()[32:]), weights_only=True)["state"]
    assert (state["epoch"], state["step"], state["micro_batch"]) == (0, 0, 16)


def test_half_the_rows_are_tried_once_only(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code=code(fits=8))
    assert job.run() == 1
    assert job.failure == (
        "out of memory with 32, and with 16, rows at a time: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has "
        "... (lower batch_size and raise accumulate_steps by as much, or take an instance with more memory)"
    )


def test_a_run_that_goes_on_with_halves_does_not_halve_again() -> None:
    micro_batch = MicroBatch.of(32)
    micro_batch.restore(16)
    micro_batch.is_training = True
    with pytest.raises(TooLittleMemoryError, match="with 32, and with 16, rows at a time: no memory left"):
        within_memory(_no_memory, micro_batch, print)


def test_one_row_cannot_be_halved() -> None:
    micro_batch = MicroBatch.of(1)
    micro_batch.is_training = True
    with pytest.raises(TooLittleMemoryError, match="out of memory with 1 rows at a time: no memory left"):
        within_memory(_no_memory, micro_batch, print)


def test_where_smaller_parts_cannot_help_they_are_not_tried() -> None:
    calls: list[int] = []

    def load() -> None:
        calls.append(1)
        _no_memory()

    with pytest.raises(TooLittleMemoryError, match="outside of the training itself"):
        within_memory(load, MicroBatch.of(32), print)
    assert calls == [1]


def test_an_odd_number_of_rows_is_halved_upwards() -> None:
    micro_batch, seen = MicroBatch.of(5), []

    def attempt() -> None:
        seen.append((micro_batch.rows, micro_batch.share_of(2048)))
        micro_batch.is_training = True
        if len(seen) == 1:
            _no_memory()

    within_memory(attempt, micro_batch, print)
    assert seen == [(5, 2048), (3, 1228)]


@pytest.mark.parametrize(
    ("fault", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_faults_are_a_lack_of_memory(fault: BaseException, is_one: bool) -> None:
    assert is_out_of_memory(fault) is is_one


REAL = """
import resource
from pathlib import Path
import torch
from torch import nn

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x):
        if not self.training:
            return self.layers(x)
        # 20 MB for each row, of the 480 MB that the factory left.
        ballast = torch.zeros(len(x), 5_000_000)
        return self.layers(x) + ballast[:, :1]

def build(input_shape, classes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 480_000_000, hard))
    return Large()
"""


def test_a_real_lack_of_memory_is_survived(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code=REAL, epochs=1, rows=64, held_out=10)
    process = job.start()
    output, _ = process.communicate(timeout=120)
    assert "out of memory with 32 rows at a time" in output, output
    assert "goes on with 16" in output
    assert "epoch 1/1" in output


def _no_memory() -> None:
    raise MemoryError("no memory left")
