"""Models of Keras 3 on torch: trained, resumed and exported as modules are, with their definitions as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lehr_runtime.decode import decode_idx
from lehr_runtime.session import open_session
from lehr_runtime.shards import read_shard
from lehr_trainer.determinism import seed_everything
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.custom import importable
from lehr_trainer.models.keras_module import adapt_keras
from lehr_trainer.sharding import shard
from tests.e2e.small_mnist import write_data

MakeJob = Callable[..., Any]
EXAMPLE = Path(__file__).parents[3] / "examples/mnist-keras/digits.py"
CUSTOM = 'name = "custom"\nfactory = "digit_model:build_model"\n'
NETWORK = """
import keras
from keras import layers


def build_model(input_shape, classes):
    inputs = keras.Input((*input_shape, 1), name="pixels")
    x = layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dropout(0.2, seed=7)(x)
    outputs = layers.Dense(classes, activation="softmax", name="head")(x)
    return keras.Model(inputs, outputs, name="network")
"""
SUBCLASS = """
import keras


class Network(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(16, activation="relu")
        self.noise = keras.layers.GaussianNoise(0.1)
        self.head = keras.layers.Dense(classes{activation})

    def call(self, x, training=False):
        return self.head(self.noise(self.hidden(self.flatten(x)), training=training))


def build_model(input_shape, classes):
    return Network(classes)
"""
LOGITS = SUBCLASS.format(activation="")

# Keras says this of the article's own definition.
pytestmark = pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")


def test_the_script_of_the_example_trains_unchanged_and_proves_its_export(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(model=CUSTOM, code=EXAMPLE.read_text(), rows=1500)
    assert job.run() == 0, job.failure
    summary = job.summary
    assert summary.parameters == 101_770
    assert summary.parity.rows >= 1000
    assert summary.parity.max_absolute_difference <= 1e-4
    assert summary.epochs[-1].validation_accuracy is not None
    assert summary.epochs[-1].validation_accuracy > 0.6
    assert summary.versions["keras"].startswith("3.")
    assert "the softmax at the end of the Keras model is left to the loss" in capsys.readouterr().out
    session = open_session(job.root / "model/model.onnx", threads=1)
    (given,) = session.run(None, {"x": np.zeros((3, 28, 28), np.uint8)})
    assert given.sum(axis=1) == pytest.approx([1, 1, 1])


@pytest.mark.slow
def test_the_example_reaches_its_stated_accuracy(make_job: MakeJob, record_property: Any) -> None:
    train, test = (
        tuple(
            decode_idx((EXAMPLE.parents[1] / f"mnist/data/{part}-{kind}.gz").read_bytes(), place=part)
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        for part in ("train", "t10k")
    )
    settings = {"rows": 58_800, "held_out": 1200, "epochs": 5, "batch_size": 32}
    job = make_job(model=CUSTOM, code=EXAMPLE.read_text(), data_set=train, **settings)
    assert job.run() == 0, job.failure
    session = open_session(job.root / "model/model.onnx", threads=1)
    (given,) = session.run(None, {"x": test[0]})
    accuracy = float((given.argmax(axis=1) == test[1]).mean())
    record_property("accuracy", accuracy)
    record_property("seconds_of_epochs", [record.seconds for record in job.summary.epochs])
    print(accuracy, job.summary.epochs, job.summary.parity)
    assert accuracy >= 0.97


def test_the_names_of_the_weights_are_plain_and_the_same_every_time(make_job: MakeJob) -> None:
    jobs = [make_job(model=CUSTOM, code=EXAMPLE.read_text(), rows=300, epochs=1) for _ in range(2)]
    assert [job.run() for job in jobs] == [0, 0]
    one, other = (read_shard((job.root / "model/weights.safetensors").read_bytes()) for job in jobs)
    assert {"dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"} < set(one)
    assert set(one) == set(other)
    assert jobs[0].summary.weights_sha256 == jobs[1].summary.weights_sha256


@pytest.mark.usefixtures("without_export")
@pytest.mark.parametrize(
    "code", [NETWORK, pytest.param(LOGITS, marks=pytest.mark.slow)], ids=["functional", "subclass"]
)
@pytest.mark.parametrize(
    "settings",
    [pytest.param({}, marks=pytest.mark.slow), {"ema_decay": 0.9, "patience": 2, "optimizer": "adamw"}],
)
def test_a_resumed_run_has_the_same_bits(
    make_job: MakeJob, stop_after: Any, code: str, settings: dict[str, Any]
) -> None:
    stopped, whole = (make_job(model=CUSTOM, code=code, epochs=3, **settings) for _ in range(2))
    assert stopped.run(stop_after(24)) == 0
    assert not (stopped.root / "model").exists()
    assert [stopped.run(), whole.run()] == [0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256
    assert [record.loss for record in stopped.summary.epochs] == [
        record.loss for record in whole.summary.epochs
    ]


def test_norms_and_convolutions_are_exported_as_they_evaluate(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code=NETWORK, epochs=1)
    assert job.run() == 0, job.failure
    weights = read_shard((job.root / "model/weights.safetensors").read_bytes())
    assert {"conv.kernel", "norm.gamma", "norm.moving_mean", "head.kernel"} < set(weights)
    assert weights["norm.moving_mean"].any(), "training moves the statistics of a norm"


def test_a_frozen_norm_keeps_its_statistics(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code=NETWORK, epochs=1, freeze=("conv.*", "norm.*"))
    assert job.run() == 0, job.failure
    weights = read_shard((job.root / "model/weights.safetensors").read_bytes())
    assert not weights["norm.moving_mean"].any()
    assert weights["head.bias"].any()


def test_weights_that_are_moved_or_converted_stay_those_that_keras_computes_with(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    with importable(tmp_path):
        network = import_module("network").build_model((28, 28), 10)
        adapted = adapt_keras(network, input_shape=(28, 28), place="network:build", log=print)
    adapted.double()
    held = {id(tensor) for tensor in (*adapted.parameters(), *adapted.buffers())}
    assert held == {id(variable.value) for variable in network.variables}
    types = {variable.value.dtype for variable in network.variables if variable.value.is_floating_point()}
    assert types == {torch.float64}


ENDS = {
    "softmax layer": "x = keras.layers.Dense(10)(x)\n    x = keras.layers.Softmax()(x)",
    "activation layer": 'x = keras.layers.Dense(10)(x)\n    x = keras.layers.Activation("softmax")(x)',
    "model within": 'x = keras.Sequential([keras.layers.Dense(10, activation="softmax")])(x)',
    "logits": "x = keras.layers.Dense(10)(x)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_whatever_a_model_ends_in_the_trainer_gets_logits(tmp_path: Path, end: str) -> None:
    code = f"import keras\n\n\ndef build():\n    x = i = keras.Input((4,))\n    {end}\n    return keras.Model(i, x)\n"
    (tmp_path / "ending.py").write_text(code)
    with importable(tmp_path):
        seed_everything(1)
        network = import_module("ending").build()
        rows = torch.rand(5, 4)
        before = network(rows).detach()
        logits = adapt_keras(network, input_shape=(4,), place="ending:build", log=print)(rows).detach()
    assert float(logits.min()) < 0
    if end != ENDS["logits"]:
        assert torch.allclose(torch.softmax(logits, 1), before, atol=1e-6)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            SUBCLASS.format(activation=', activation="softmax"'),
            "gives probabilities, which are never negative",
        ),
        (LOGITS.replace("Dense(classes", "Dense(3"), "for 2 rows the module gives [2, 3]"),
        (
            "import keras\nimport torch\n\n\ndef build_model(**_):\n"
            "    return torch.nn.Sequential(torch.nn.Flatten(), keras.layers.Dense(10))\n",
            "returned a torch module with Keras layers in it",
        ),
    ],
)
def test_a_model_that_cannot_be_trained_is_explained(make_job: MakeJob, code: str, reason: str) -> None:
    job = make_job(model=CUSTOM, code=code)
    assert job.run() == 1
    assert reason in job.failure


def test_an_error_within_a_layer_names_the_projects_line(make_job: MakeJob) -> None:
    job = make_job(model=CUSTOM, code=LOGITS.replace("self.flatten(x)", "self.flaten(x)"))
    assert job.run() == 1
    assert job.failure.startswith("digit_model.py:14 in call: AttributeError")
    assert "(). 'Network' object has no attribute 'flaten'" in job.failure, "without the colours of Keras"


def test_the_script_of_the_example_runs_by_itself(tmp_path: Path) -> None:
    data = write_data(tmp_path, 500)
    result = subprocess.run(
        [sys.executable, str(EXAMPLE), str(data)],
        env=os.environ | {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path / "keras")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "Epoch 5/5" in result.stdout


def test_a_keras_model_cannot_be_cut_up(tmp_path: Path) -> None:
    """What Keras computes with are the parameters that it holds, which are whole."""
    (tmp_path / "network.py").write_text(NETWORK)
    with importable(tmp_path):
        network = import_module("network").build_model((28, 28), 10)
        adapted = adapt_keras(network, input_shape=(28, 28), place="network:build", log=print)
    with pytest.raises(JobInputError, match="does not go with a model of Keras"):
        shard(torch.nn.Sequential(adapted))
