"""Trainings that fail, and what the catalogue of causes says to the sentence that they leave for SageMaker."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from lehr.causes.catalogue import look_up
from lehr.contracts.slices import SliceProgress, SliceRequest
from lehr_trainer import main
from lehr_trainer.export import prove_parity
from lehr_trainer.failure import reason_of
from lehr_trainer.function import STALLED_SLICES, Workplace
from lehr_trainer.initial_weights import take_weights
from lehr_trainer.launch import process_failure
from lehr_trainer.stop import StopFlag, TrainingStopped
from tests import tiny_models
from tests.failures import seen, trained

MakeJob = Callable[..., Any]
CUSTOM = 'name = "custom"\nfactory = "digit_model:build"\n'
HOOKED = '\n[hooks]\nloss = "digit_model:loss"\n'
NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, gives):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, gives))

    def forward(self, x):
        if self.training:
            {training}
        return {returned}

def build(input_shape, classes):
    return Network({gives})
"""


def network(training: str = "pass", returned: str = "self.layers(x)", gives: str = "classes") -> str:
    return NETWORK.format(training=training, returned=returned, gives=gives)


FAILING = [
    ("code-raised-an-error", network('raise ValueError("no")'), CUSTOM),
    ("code-has-a-syntax-error", "def build(:\n    pass\n", CUSTOM),
    ("code-needs-a-package", "import no_such_package\n", CUSTOM),
    ("code-has-another-signature", "def build(rows):\n    return rows\n", CUSTOM),
    ("factory-is-not-there", network(), CUSTOM.replace("digit_model", "network")),
    ("factory-is-not-there", network(), CUSTOM.replace(":build", ":make")),
    ("factory-gives-no-model", "def build(input_shape, classes):\n    return {}\n", CUSTOM),
    ("model-has-wrong-shape", network(gives="9"), CUSTOM),
    ("gives-probabilities", network(returned="torch.softmax(self.layers(x), 1)"), CUSTOM),
    ("training-diverged", network("return self.layers(x) * torch.nan"), CUSTOM),
    ("gpu-out-of-memory", network('raise torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")'), CUSTOM),
    ("host-out-of-memory", network("raise MemoryError"), CUSTOM),
    ("disk-full", network('raise OSError(28, "No space left on device")'), CUSTOM),
    ("hook-failed", network() + '\ndef loss(logits, y):\n    raise ValueError("no")\n', CUSTOM + HOOKED),
    ("graph-is-random", network(returned="nn.functional.dropout(self.layers(x))"), CUSTOM),
    (
        "operator-has-no-onnx-form",
        network(returned="self.layers(x) + 0 * torch.special.bessel_j0(self.layers(x).detach())"),
        CUSTOM,
    ),
]


# They get as far as the export, which takes its seconds; that the wordings are found is tested for all causes at once.
EXPORTED = {"graph-is-random", "operator-has-no-onnx-form"}


# Beside those of the two lists, what has a test of its own.
ALONE = {"training-hung", "job-input-missing"}


@pytest.mark.parametrize(
    ("name", "code", "model"),
    [
        pytest.param(*case, id=case[0], marks=[pytest.mark.slow] if case[0] in EXPORTED else [])
        for case in FAILING
    ],
)
def test_a_training_that_fails_is_explained(make_job: MakeJob, name: str, code: str, model: str) -> None:
    job = make_job(model=model, code=code, rows=64, held_out=32, epochs=1)
    assert job.run() == 1
    said = f"AlgorithmError: {job.failure}, exit code: 1"
    told = look_up(seen("TrainTrials", "States.TaskFailed", said))
    assert told.cause == name, job.failure
    if name == "code-raised-an-error":
        assert told.sentence.endswith("digit_model.py, line 12.")


def of_other_weights(folder: Path) -> str:
    saved = {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    return refused(lambda: take_weights(nn.Linear(4, 2), saved), folder)


def anew_what_is_not_there(folder: Path) -> str:
    saved = {"weight": np.zeros((2, 4), np.float32), "bias": np.zeros(2, np.float32)}
    return refused(lambda: take_weights(nn.Linear(4, 2), saved, ["layers.*"]), folder)


def of_another_graph(folder: Path) -> str:
    path = folder / "model.onnx"
    path.write_bytes(tiny_models.graph(tiny_models.weights()).SerializeToString())
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    rows = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
    return refused(lambda: prove_parity(model, path, rows, tiny_models.signature(), threads=1), folder)


def of_no_numbers(folder: Path) -> str:
    path = folder / "model.onnx"
    path.write_bytes(tiny_models.graph(tiny_models.weights()).SerializeToString())
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.constant_(model[1].bias, math.nan)
    rows = np.zeros((2, 28, 28), np.uint8)
    return refused(lambda: prove_parity(model, path, rows, tiny_models.signature(), threads=1), folder)


def refused(call: Callable[[], object], folder: Path) -> str:
    with pytest.raises(Exception) as caught:
        call()
    return reason_of(caught.value, folder)


SLICE = SliceRequest(
    project="digits",
    run="r1",
    trial="0",
    job="j",
    code_uri="s3://artifacts/code/",
    manifest_uri="s3://artifacts/manifest.json",
    train_uri="s3://artifacts/train.json",
    hyperparameters={},
    checkpoint_uri="s3://artifacts/checkpoints/",
    output_uri="s3://artifacts/output/",
    max_runtime_s=600,
    progress=SliceProgress(slices=3, update=40, stalled=STALLED_SLICES - 1, seconds=600),
)


def of_too_many_slices(folder: Path) -> str:
    now = time.monotonic()
    return Workplace(folder, None).train(SLICE, never_run, deadline=now + 60, began=now).reason


def never_run(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
    raise AssertionError("its time is over")


def of_slices_that_begin_anew(folder: Path) -> str:
    stopped = TrainingStopped(1, 3, began=0, ended=3)
    return Workplace(folder, None)._answer(SLICE, 0, stopped, time.monotonic()).reason


# Where a job of its own would take seconds: what fails in it, and the sentence that is left of that.
IN_PARTS: list[tuple[str, Callable[[Path], str]]] = [
    ("weights-do-not-fit", of_other_weights),
    ("weights-do-not-fit", anew_what_is_not_there),
    ("export-parity-refused", of_another_graph),
    ("export-parity-refused", of_no_numbers),
    ("function-took-too-long", of_too_many_slices),
    ("slices-move-nothing", of_slices_that_begin_anew),
    ("process-was-killed", lambda _: str(process_failure({1: -signal.SIGSEGV, 0: -signal.SIGTERM}))),
    ("process-was-killed", lambda _: str(process_failure({0: 3}))),
    ("host-out-of-memory", lambda _: str(process_failure({1: -signal.SIGKILL}))),
]


@pytest.mark.parametrize(("name", "provoke"), IN_PARTS)
def test_what_a_part_of_the_trainer_says_is_explained(
    name: str, provoke: Callable[[Path], str], tmp_path: Path
) -> None:
    reason = provoke(tmp_path)
    assert trained(f"AlgorithmError: {reason}, exit code: 1").cause == name, reason


def test_a_rank_that_has_lost_another_is_explained(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "is_loss_of_a_process", lambda fault: True)
    job = make_job(model=CUSTOM, code=network('raise ValueError("no")'), rows=64, epochs=1)
    assert job.run() == 1
    assert "has lost another process" in job.failure
    assert trained(f"AlgorithmError: {job.failure}, exit code: 1").cause == "process-was-killed"


def test_a_training_that_hangs_is_explained(make_job: MakeJob) -> None:
    hanging = network("import time; time.sleep(60)")
    job = make_job(model=CUSTOM + "[backend]\nhang_after_s = 1\n", code=hanging, rows=64, epochs=1)
    assert job.run() == 1
    assert look_up(seen("TrainTrials", "States.TaskFailed", job.failure)).cause == "training-hung"


def test_a_job_without_its_data_is_explained(make_job: MakeJob) -> None:
    job = make_job(rows=64, epochs=1)
    next((job.root / "input/data/train").glob("*.safetensors")).unlink()
    assert job.run() == 1
    assert look_up(seen("TrainTrials", "States.TaskFailed", job.failure)).cause == "job-input-missing"


@pytest.mark.usefixtures("without_export")
def test_a_training_that_ends_well_has_nothing_to_explain(make_job: MakeJob) -> None:
    """The control: the network that the failures above are made of trains."""
    job = make_job(model=CUSTOM, code=network(), rows=64, held_out=32, epochs=1)
    assert (job.run(), job.failure) == (0, "")


PROVOKED = ALONE | {name for name, *_ in (*FAILING, *IN_PARTS)}
