"""Models: the built-in one, the project's own, and what a person reads when their code is wrong."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lehr.contracts.recipe_tables import Model
from lehr_trainer.__main__ import main
from lehr_trainer.models import build_model
from lehr_trainer.models.custom import find_function, importable

MakeJob = Callable[..., Any]
CUSTOM = 'name = "custom"\nfactory = "digit_model:build"\n'

CONVOLUTIONS = """
import torch
from torch import nn

from blocks import normalised


class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = normalised(nn.Conv2d(1, 8, 3, stride=2))
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(torch.relu(self.features(x.unsqueeze(1))).amax((2, 3)))


def build(*, input_shape, classes):
    assert input_shape == (28, 28)
    return Network(classes)
"""
BLOCKS = (
    "from torch import nn\n\n\ndef normalised(layer):\n    return nn.Sequential(layer, nn.BatchNorm2d(8))\n"
)
LINEAR = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear({width}, 10)

    def forward(self, x):
        {before}
        return self.layer(x.flatten(1))


def build(input_shape, classes):
    return Network()
"""


def test_a_projects_own_network_trains_exports_and_resumes(make_job: MakeJob, stop_after: Any) -> None:
    jobs = [make_job(model=CUSTOM, code=CONVOLUTIONS, epochs=3, learning_rate=0.01) for _ in range(2)]
    for job in jobs:
        (job.root / "input/data/code/blocks.py").write_text(BLOCKS)
    stopped, whole = jobs
    assert stopped.run(stop_after(30)) == 0
    assert [job.run() for job in jobs] == [0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256
    assert whole.summary.epochs[-1].loss < whole.summary.epochs[0].loss
    assert whole.summary.parity.max_absolute_difference <= 1e-4
    assert "digit_model" not in sys.modules
    assert "blocks" not in sys.modules


def test_two_projects_with_equal_file_names_do_not_meet(make_job: MakeJob) -> None:
    code = LINEAR.format(width=784, before="pass")
    first = make_job(model=CUSTOM, code=code, epochs=1)
    second = make_job(model=CUSTOM, code=code.replace("return Network()", "return nn.Flatten()"), epochs=1)
    assert [first.run(), second.run()] == [0, 1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "there is no module 'digit_model' (the project has no Python file)"),
        ("x = 1\n", "digit_model.py has no function 'build'"),
        (
            "def build(**_):\n    return 7\n",
            "digit_model:build: returned int (return a torch.nn.Module or a keras.Model)",
        ),
        (
            "from torch import nn\n\ndef build(**_):\n    return nn.Flatten()\n",
            "without trainable parameters",
        ),
        (LINEAR.format(width=784, before="return self.layer.weight.sum()"), "for 2 rows the module gives []"),
        (LINEAR.format(width=784, before="return 1"), "for 2 rows the module gives int"),
        (LINEAR.format(width=784, before="return self.layer(x.flatten(1))[:, :3]"), "gives [2, 3]"),
        (
            LINEAR.format(width=784, before="return self.layer(x.flatten(1)).softmax(1)"),
            "gives probabilities, which are never negative and add up to 1 (leave the softmax out",
        ),
    ],
)
def test_a_factory_that_gives_no_classifier_is_explained(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], code: str | None, reason: str
) -> None:
    job = make_job(model=CUSTOM, code=code)
    assert job.run() == 1
    assert reason in job.failure
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "reason", "line"),
    [
        (
            LINEAR.format(width=783, before="pass"),
            "digit_model.py:13 in forward: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x784 and 783x10)",
            "return self.layer(x.flatten(1))",
        ),
        (
            LINEAR.format(width=784, before='assert not self.training, "odd"'),
            "digit_model.py:12 in forward: AssertionError: odd",
            'assert not self.training, "odd"',
        ),
        (
            "import torch\n\ndef build(classes):\n    return None\n",
            "TypeError: build() got an unexpected keyword argument 'input_shape'",
            "",
        ),
        (
            "import no_such_package\n",
            "digit_model.py:1 in <module>: ModuleNotFoundError",
            "import no_such_package",
        ),
        ("def build(:\n", "digit_model.py:1: SyntaxError", "def build(:"),
    ],
)
def test_an_error_of_the_projects_code_names_its_line(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], code: str, reason: str, line: str
) -> None:
    job = make_job(model=CUSTOM, code=code)
    assert job.run() == 1
    assert job.failure.startswith(reason)
    assert "Traceback" not in job.failure
    output = capsys.readouterr().out.splitlines()
    assert output[-1] == f"FAILED: {job.failure}"
    assert "Traceback (most recent call last):" in output
    if line:
        assert output[-2].strip() == line


def test_a_dropout_that_is_never_off_is_refused(make_job: MakeJob) -> None:
    drop = "x = nn.functional.dropout(x)"
    job = make_job(model=CUSTOM, code=LINEAR.format(width=784, before=drop), epochs=1)
    assert job.run() == 1
    assert "has a Dropout as in training" in job.failure


def test_a_model_that_has_no_onnx_form_says_so(make_job: MakeJob) -> None:
    branch = "x = x if float(x.sum()) > 0 else -x"
    job = make_job(model=CUSTOM, code=LINEAR.format(width=784, before=branch), epochs=1)
    assert job.run() == 1
    assert job.failure.startswith("ExportError: the model cannot be exported to ONNX: ")


def test_a_file_named_as_an_installed_module_is_refused(make_job: MakeJob) -> None:
    job = make_job(model='name = "custom"\nfactory = "json:build"\n')
    (job.root / "input/data/code/json.py").write_text("def build(**_): ...\n")
    assert job.run() == 1
    assert "'json' is the name of an installed module (rename the file)" in job.failure


def test_the_process_of_a_failing_job_exits_with_one(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code="def build(**_):\n    raise ValueError('no network today')\n")
    process = job.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert job.failure == "digit_model.py:2 in build: ValueError: no network today"
    assert "raise ValueError('no network today')" in output.splitlines()[-2]


@pytest.mark.parametrize("arguments", [[], ["serve"], ["train", "now"]])
def test_a_container_called_otherwise_says_how(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: python -m lehr_trainer train | batch" in capsys.readouterr().err


def test_the_mlp_has_the_layers_of_its_recipe(tmp_path: Path) -> None:
    model = build_model(Model(hidden=(32, 16)), input_shape=(28, 28), classes=10, code_folder=tmp_path)
    shapes = [tuple(weights.shape) for name, weights in model.named_parameters() if "weight" in name]
    assert shapes == [(32, 784), (16, 32), (10, 16)]
    assert model(torch.zeros(3, 28, 28)).shape == (3, 10)


def test_the_mlp_starts_glorot_uniform_with_zero_biases(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(Model(), input_shape=(28, 28), classes=10, code_folder=tmp_path)
    bound = (6 / (784 + 128)) ** 0.5
    weights = model[1].weight.detach()
    assert 0.99 * bound < float(weights.abs().max()) <= bound
    assert float(weights.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not model[1].bias.any()


def test_a_folder_of_one_project_does_not_hide_a_file_of_the_next(tmp_path: Path) -> None:
    """In a process that trains one project after the other, at the same place, as a function does."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/plain.py").write_text("def build(): return 1\n")
    with importable(tmp_path):
        assert find_function("nets.plain:build", tmp_path, key="model.factory")() == 1
    shutil.rmtree(tmp_path / "nets")
    (tmp_path / "nets.py").write_text("def build(): return 2\n")
    with importable(tmp_path):
        assert find_function("nets:build", tmp_path, key="model.factory")() == 2
