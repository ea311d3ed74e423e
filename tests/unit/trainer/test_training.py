"""The loop: what it computes, that a seed decides it, and that it says what it does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from lehr_trainer import measuring, train
from lehr_trainer.data import Examples, epoch_order
from lehr_trainer.determinism import weights_sha256
from lehr_trainer.metrics import METRIC_DEFINITIONS, progress_line

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")


def test_a_seed_decides_every_byte_of_the_weights(make_job: MakeJob) -> None:
    jobs = [make_job(seed=7), make_job(seed=7), make_job(seed=8)]
    assert [job.run() for job in jobs] == [0, 0, 0]
    first, again, other = (job.summary.weights_sha256 for job in jobs)
    assert first == again
    assert first != other


def test_training_learns_and_its_summary_says_so(make_job: MakeJob) -> None:
    job = make_job(rows=1500, held_out=300, epochs=5, learning_rate=0.005)
    assert job.run() == 0
    summary = job.summary
    assert [record.epoch for record in summary.epochs] == [1, 2, 3, 4, 5]
    assert summary.epochs[-1].loss < summary.epochs[0].loss
    assert summary.epochs[-1].validation_accuracy > 0.75
    assert (summary.training_rows, summary.parameters, summary.threads) == (1500, 784 * 16 + 16 + 170, 1)
    assert summary.seconds == pytest.approx(sum(record.seconds for record in summary.epochs))
    assert {"python", "torch", "onnx", "onnxruntime"} < set(summary.versions)


@pytest.mark.parametrize("rows", [600, 6000])
def test_a_loss_that_is_no_number_stops_the_run(make_job: MakeJob, rows: int) -> None:
    job = make_job(rows=rows // 5, learning_rate=1e30, batch_size=1)
    assert job.run() == 1
    assert re.fullmatch(
        r"the loss is no longer finite at epoch 1 step [2-9] \(lower the learning rate, or set clip_norm\)",
        job.failure,
    )
    assert not job.checkpoints
    assert not (job.root / "model/model.onnx").exists()


def test_evaluation_agrees_with_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(784, 10))
    examples = Examples(torch.from_numpy(x.copy()), torch.from_numpy(y.astype(np.int64)))
    measured = measuring.measure(model, examples)
    with torch.no_grad():
        probabilities = model.eval()(examples.images.double().float() / 255).softmax(1).double().numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert measured.loss == pytest.approx(log_loss(y, probabilities, labels=range(10)), rel=1e-5)
    assert measured.accuracy == (probabilities.argmax(axis=1) == y).mean()


def test_evaluation_of_no_rows_measures_nothing() -> None:
    nothing = Examples(torch.empty(0, 28, 28, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    assert measuring.measure(torch.nn.Flatten(), nothing) == measuring.Measured()


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch_alone() -> None:
    order = epoch_order(1000, seed=3, epoch=4)
    torch.manual_seed(99)
    assert torch.equal(order, epoch_order(1000, seed=3, epoch=4))
    assert sorted(order.tolist()) == list(range(1000))
    assert not torch.equal(order, epoch_order(1000, seed=3, epoch=5))
    assert not torch.equal(order, epoch_order(1000, seed=4, epoch=4))
    assert len(epoch_order(10, seed=-1, epoch=0)) == 10


def test_the_digest_of_weights_sees_one_bit() -> None:
    model = torch.nn.Linear(3, 2)
    before = weights_sha256(model)
    with torch.no_grad():
        model.bias[0] = torch.nextafter(model.bias[0], torch.tensor(9.0))
    assert weights_sha256(model) != before


def test_sagemaker_reads_every_metric_from_the_lines_that_are_printed(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(epochs=3)
    assert job.run() == 0
    output = capsys.readouterr().out
    seen = {entry["Name"]: re.findall(entry["Regex"], output) for entry in METRIC_DEFINITIONS}
    of_others = {"validation:rmse": 0, "validation:mae": 0, "validation:mean_iou": 0, "validation:map50": 0}
    assert {name: len(values) for name, values in seen.items()} == dict.fromkeys(seen, 3) | of_others
    last = job.summary.epochs[-1]
    assert float(seen["train:loss"][-1]) == pytest.approx(last.loss, abs=1e-4)
    assert float(seen["train:accuracy"][-1]) == pytest.approx(last.accuracy, abs=1e-4)
    assert float(seen["validation:loss"][-1]) == pytest.approx(last.validation_loss, abs=1e-4)
    assert float(seen["validation:accuracy"][-1]) == pytest.approx(last.validation_accuracy, abs=1e-4)
    assert float(seen["train:samples_per_second"][-1]) == pytest.approx(last.samples_per_second, abs=1)


def test_a_line_within_an_epoch_is_no_metric() -> None:
    line = progress_line(1, 5, 300, 1838, 0.25)
    assert line == "epoch 1/5 step 300/1838 loss_so_far=0.2500"
    assert not any(re.search(entry["Regex"], line) for entry in METRIC_DEFINITIONS)


def test_a_long_epoch_gives_signs_of_life(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "PROGRESS_EVERY_S", 0.0)
    assert make_job(epochs=1, batch_size=200).run() == 0
    lines = [line.split(" loss")[0] for line in capsys.readouterr().out.splitlines() if " step " in line]
    assert lines == ["epoch 1/1 step 1/3", "epoch 1/1 step 2/3", "epoch 1/1 step 3/3"]


def test_numbers_near_zero_are_there_again_after_a_training(make_job: MakeJob) -> None:
    """Code that compares with the smallest number above zero, as msgspec does for "more than 0", needs them."""
    assert make_job(epochs=1).run() == 0
    assert torch.tensor(5e-324, dtype=torch.float64).mul(1.0).item() > 0


@pytest.mark.parametrize(("first", "kept"), [("flush_in_pool()", 0), ("pass", 1 << 19)])
def test_all_threads_take_denormal_numbers_for_zero(first: str, kept: int) -> None:
    """In a process of its own, since a pool of threads cannot be started twice."""
    code = f"""
import numpy, torch
from lehr_trainer.determinism import flush_in_pool, flushed_denormals
tiny = torch.from_numpy(numpy.full(1 << 20, 1e-40, "float32"))
torch.set_num_threads(2)
{first}
assert (tiny * 1).view(torch.int32)[: 1 << 19].all(), "the main thread keeps them"
with flushed_denormals():
    print(int((tiny * 1).view(torch.int32).count_nonzero()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == kept


def test_a_training_leaves_the_threads_of_torch_as_they_were(make_job: MakeJob) -> None:
    torch.set_num_threads(2)
    assert make_job(epochs=1).run(LEHR_THREADS="3") == 0
    assert torch.get_num_threads() == 2
