"""A training that gives no sign of life is ended, with the line that it stands in; one that is only slow is not."""

from __future__ import annotations

import re
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from lehr_trainer import export, trained_package
from lehr_trainer.errors import HangError
from lehr_trainer.heartbeat import Heartbeat

MakeJob = Callable[..., Any]

MODEL = 'name = "custom"\nfactory = "digit_model:build"\n[backend]\nhang_after_s = 2\n'
CODE = """
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        {wait}
        return self.layers(x)

def build(input_shape, classes):
    return Slow()
"""
ASLEEP = "time.sleep(60 * (self.seen == 8))"


@pytest.mark.usefixtures("without_export")
def test_a_model_that_hangs_is_ended_with_the_line_that_it_stands_in(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(model=MODEL, code=CODE.replace("{wait}", ASLEEP))
    handler = signal.getsignal(signal.SIGUSR2)
    started = time.monotonic()
    assert job.run() == 1
    assert time.monotonic() - started < 20
    # Three calls come before the first update: two to see what the model gives, one to count its operations.
    assert job.failure == (
        "digit_model.py:13 in forward: HangError: no sign of life for 2 s after epoch 1 step 4 "
        "(set backend.hang_after_s higher if so long is meant)"
    )
    assert "the project's line: digit_model.py:13 in forward" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGUSR2) == handler
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_code_that_cannot_be_interrupted_is_ended_all_the_same(make_job: MakeJob) -> None:
    deaf = CODE.replace("{wait}", "self.swallow(time.sleep) if self.seen == 8 else None").replace(
        "    def forward",
        "    def swallow(self, wait):\n"
        "        for _ in range(60):\n"
        "            try:\n"
        "                wait(1)\n"
        "            except Exception:\n"
        "                pass\n\n"
        "    def forward",
    )
    job = make_job(model=MODEL, code=deaf)
    process = job.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.match(
        r"digit_model\.py:14 in swallow: HangError: no sign of life for 2 s after epoch 1 step 4", job.failure
    ), output
    assert "the main thread stands here" in output
    assert output.rstrip().endswith(f"FAILED: {job.failure}")


@pytest.mark.usefixtures("without_export")
def test_a_validation_and_an_epoch_that_take_longer_than_the_limit_are_no_hang(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lehr_trainer.measuring.EVALUATION_ROWS", 20)
    code = CODE.replace("{wait}", "time.sleep(0.4)")
    job = make_job(model=MODEL, code=code, rows=192, held_out=120, epochs=1)
    assert job.run() == 0, job.failure
    assert job.summary.epochs[0].seconds > 2


def test_an_export_is_not_watched(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    export_model = export.export_model

    def slowly(*rest: Any, **options: Any) -> Any:
        time.sleep(3)
        return export_model(*rest, **options)

    monkeypatch.setattr(trained_package, "export_model", slowly)
    job = make_job(model=MODEL, code=CODE.replace("{wait}", "pass"), epochs=1)
    assert job.run() == 0, job.failure


def test_zero_is_never() -> None:
    before = threading.active_count()
    with Heartbeat(0, _must_not) as heartbeat:
        heartbeat.beat("here")
        assert threading.active_count() == before
        time.sleep(0.05)


def test_nothing_is_due_before_the_first_sign_nor_after_the_last() -> None:
    with Heartbeat(0.05, _must_not) as heartbeat:
        time.sleep(0.2)
        heartbeat.beat("here")
        heartbeat.rest()
        time.sleep(0.2)


def test_the_wait_itself_is_interrupted() -> None:
    started = time.monotonic()
    with Heartbeat(0.1, _must_not) as heartbeat:
        heartbeat.beat("epoch 3 step 4")
        with pytest.raises(HangError, match="after epoch 3 step 4"):
            time.sleep(30)
    assert time.monotonic() - started < 10


def test_outside_of_the_main_thread_it_tells_where_the_thread_stands() -> None:
    told: list[traceback.StackSummary] = []
    over = threading.Event()

    def stuck(fault: HangError, stack: traceback.StackSummary) -> None:
        told.append(stack)
        over.set()

    def work() -> None:
        with Heartbeat(0.1, stuck) as heartbeat:
            heartbeat.beat("here")
            over.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "work" in [frame.name for frame in told[0]]


def _must_not(fault: HangError, stack: traceback.StackSummary) -> None:
    raise AssertionError(fault)


@pytest.mark.usefixtures("without_export")
def test_a_second_attempt_after_a_lack_of_memory_may_take_its_time_to_begin(make_job: MakeJob) -> None:
    code = CODE.replace("{wait}", "if self.training and len(x) > 16: raise MemoryError")
    code = code.replace("    return Slow()", "    time.sleep(2.5)\n    return Slow()")
    job = make_job(model=MODEL, code=code, epochs=1)
    assert job.run() == 0, job.failure
    assert job.summary.micro_batch_rows == 16
