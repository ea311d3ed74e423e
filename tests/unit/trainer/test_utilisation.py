"""Utilisation: operations are counted right, nothing that decides weights is touched, and a run says its figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lehr.contracts.training import EpochRecord
from lehr_trainer.utilisation import Meter, flops_per_sample, gemm_flops_per_second

MakeJob = Callable[..., Any]


def _silent(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize(
    ("model", "forward"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), 2 * 64 * 5),
        (
            nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 4, 3, padding=1), nn.Flatten()),
            2 * 4 * 9 * 64,
        ),
    ],
)
def test_operations_are_two_for_each_multiplication_and_three_passes(model: Any, forward: int) -> None:
    rows = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert flops_per_sample(model, rows, _silent) == 3 * forward


def test_counting_leaves_the_module_and_the_random_streams_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 5)).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    streams = torch.get_rng_state()
    assert flops_per_sample(model, torch.ones(4, 8, 8, dtype=torch.uint8), _silent)
    assert model.training
    assert torch.equal(torch.get_rng_state(), streams)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_module_that_cannot_be_counted_is_trained_all_the_same() -> None:
    class Fragile(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            raise RuntimeError("not in this mode")

    lines: list[str] = []
    images = torch.zeros(1, 8, 8, dtype=torch.uint8)
    assert flops_per_sample(Fragile(), images, lines.append) is None
    assert lines == ["the model's operations cannot be counted: not in this mode"]
    assert flops_per_sample(nn.Flatten(), images, _silent) is None


def test_the_share_is_the_models_rate_over_the_machines() -> None:
    meter = Meter(gemm_flops_per_second=1e6, flops_per_sample=200.0, data_seconds=0.5, peak_memory_bytes=7)
    record = EpochRecord(epoch=1, loss=0.1, accuracy=0.9, samples_per_second=500.0, seconds=2.0)
    seen = meter.report([record, record])
    assert (seen.samples_per_second, seen.gemm_share, seen.data_share) == (500.0, 0.1, 0.125)


def test_a_run_says_what_it_used(make_job: MakeJob, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job()
    assert job.run() == 0
    seen = job.summary.utilisation
    assert seen.flops_per_sample == 3 * 2 * (784 * 16 + 16 * 10)
    assert seen.samples_per_second == pytest.approx(1200 / job.summary.seconds)
    assert seen.gemm_share == pytest.approx(
        seen.samples_per_second * seen.flops_per_sample / seen.gemm_flops_per_second
    )
    assert 0 < seen.data_share < 1
    assert 5e7 < seen.peak_memory_bytes < 1e11, "bytes, not the kilobytes of getrusage"
    (line,) = re.findall(r"^utilisation: .*$", capsys.readouterr().out, re.MULTILINE)
    assert re.search(r"\d+ samples/s, \d+\.\d% of \d+ GFLOP/s", line)


def test_a_resumed_run_reports_the_whole_of_it(make_job: MakeJob, stop_after: Any) -> None:
    job = make_job(epochs=2)
    assert job.run(stop_after(25)) == 0
    assert job.run() == 0
    first = job.summary.utilisation
    assert job.run() == 0
    assert job.summary.utilisation == first


def test_a_product_of_matrices_has_a_rate() -> None:
    streams = torch.get_rng_state()
    assert gemm_flops_per_second(torch.device("cpu")) > 1e8
    assert torch.equal(torch.get_rng_state(), streams)
