"""Trainings that fail, and what the catalogue of causes says to the sentence that they leave for SageMaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lehr.causes.catalogue import look_up
from tests.failures import seen

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
