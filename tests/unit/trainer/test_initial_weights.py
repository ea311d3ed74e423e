"""A training that starts from the champion's weights: all of them, or what the recipe leaves of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from lehr_runtime.shards import read_shard, write_shard
from lehr_trainer.errors import InitialWeightsError
from lehr_trainer.initial_weights import take_weights, write_weights

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")
VERSION = "0123456789abcdef"
ENVIRON = {"LEHR_INITIAL_VERSION": VERSION}


@pytest.fixture
def champion(make_job: MakeJob) -> Path:
    """The weights of a model that was trained for long."""
    job = make_job(epochs=8)
    assert job.run() == 0
    weights: Path = job.root / "model/weights.safetensors"
    return weights


@pytest.fixture
def fine_tuning(make_job: MakeJob, champion: Path) -> Callable[..., Any]:
    def make(**settings: Any) -> Any:
        job = make_job(start_from="champion", seed=5, **settings)
        channel = job.root / "input/data/initial"
        channel.mkdir()
        shutil.copy(champion, channel)
        return job

    return make


def test_the_file_is_what_safetensors_reads_and_has_every_parameter_and_buffer(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    write_weights(model, tmp_path / "weights.safetensors", print)
    read = load_file(tmp_path / "weights.safetensors")
    assert set(read) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert np.array_equal(read[name], tensor.numpy()), name


def test_a_type_that_the_format_lacks_costs_the_file_and_not_the_training(tmp_path: Path) -> None:
    lines: list[str] = []
    write_weights(nn.Linear(1, 1).to(torch.bfloat16), tmp_path / "weights.safetensors", lines.append)
    assert not (tmp_path / "weights.safetensors").exists()
    assert "no training can start from this model" in lines[0]


def test_a_fine_tuning_begins_where_the_champion_ended(
    make_job: MakeJob, fine_tuning: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    scratch, tuned = make_job(epochs=1, seed=5), fine_tuning(epochs=1)
    capsys.readouterr()
    assert [scratch.run(), tuned.run(**ENVIRON)] == [0, 0]
    assert f"starts from the weights of champion {VERSION}: 4 tensors" in capsys.readouterr().out
    assert tuned.summary.initial_version == VERSION
    assert scratch.summary.initial_version == ""
    assert tuned.summary.epochs[0].validation_loss < scratch.summary.epochs[0].validation_loss / 2


def test_without_a_champion_it_starts_from_random_weights_and_says_so(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    first, plain = make_job(start_from="champion"), make_job()
    assert [first.run(LEHR_INITIAL_VERSION=""), plain.run()] == [0, 0]
    assert "the project has no champion yet" in capsys.readouterr().out
    assert first.summary.initial_version == ""
    assert first.summary.weights_sha256 == plain.summary.weights_sha256


def test_a_trial_that_does_not_ask_for_it_starts_from_random_weights(make_job: MakeJob) -> None:
    job = make_job()
    assert job.run(**ENVIRON) == 0
    assert job.summary.initial_version == ""


def test_weights_that_did_not_arrive_are_missed(make_job: MakeJob) -> None:
    job = make_job(start_from="champion")
    assert job.run(**ENVIRON) == 1
    assert "the channel 'initial' is missing" in job.failure


def test_a_stopped_fine_tuning_resumes_bit_for_bit(fine_tuning: Callable[..., Any], stop_after: Any) -> None:
    stopped, whole = (fine_tuning(ema_decay=0.5, freeze=("1.*",)) for _ in range(2))
    assert stopped.run(stop_after(7), **ENVIRON) == 0
    assert [job.run(**ENVIRON) for job in (stopped, whole)] == [0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256


def test_a_checkpoint_that_began_with_other_weights_is_not_continued(
    fine_tuning: Callable[..., Any], stop_after: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job = fine_tuning()
    assert job.run(stop_after(7), **ENVIRON) == 0
    path = job.root / "input/data/initial/weights.safetensors"
    path.write_bytes(write_shard({name: array * 2 for name, array in read_shard(path.read_bytes()).items()}))
    assert job.run(**ENVIRON) == 0
    assert "resumed" not in capsys.readouterr().out


def test_what_is_frozen_stays_the_champions(fine_tuning: Callable[..., Any], champion: Path) -> None:
    job = fine_tuning(freeze=("1.*",))
    assert job.run(**ENVIRON) == 0
    before = read_shard(champion.read_bytes())
    after = read_shard((job.root / "model/weights.safetensors").read_bytes())
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"4.weight", "4.bias"}


def test_a_model_of_another_shape_is_refused_with_its_parameters(
    fine_tuning: Callable[..., Any],
) -> None:
    job = fine_tuning(model='name = "mlp"\nhidden = [8]\n')
    assert job.run(**ENVIRON) == 1
    assert "do not fit the model: 1.weight (float32 [16, 784] there, float32 [8, 784] here)" in job.failure
    assert 'start_anew = ["1.*", "4.*"]' in job.failure


def test_a_new_head_starts_anew_where_the_recipe_says_so(
    fine_tuning: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    job = fine_tuning(start_anew=("4.*",))
    assert job.run(**ENVIRON) == 0
    assert ": 2 tensors, and 2 anew: 4.weight, 4.bias" in capsys.readouterr().out


def _saved(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("_", "."): np.ones(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("saved", "anew", "reason"),
    [
        (_saved(_0_weight=(2, 3)), (), r"\(none there"),
        (_saved(_0_weight=(2, 3), _0_bias=(2,), _1_scale=(1,)), (), r"1\.scale .*none here"),
        (_saved(_0_weight=(2, 3), _0_bias=(2,)), ("head.*",), "'head.*', which is no parameter"),
        (_saved(_0_weight=(2, 3), _0_bias=(2,)), ("*",), "leaves nothing"),
        ({"0.weight": np.ones((2, 3), np.int64), "0.bias": np.ones(2, np.float32)}, (), "int64"),
    ],
)
def test_weights_that_fit_by_half_are_refused(
    saved: dict[str, np.ndarray], anew: tuple[str, ...], reason: str
) -> None:
    saved = {name.removeprefix("."): array for name, array in saved.items()}
    model = nn.Sequential(nn.Linear(3, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InitialWeightsError, match=reason):
        take_weights(model, saved, anew)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_layer_that_is_gone_or_new_can_be_left_out_by_name() -> None:
    saved = {name.removeprefix("."): array for name, array in _saved(_0_weight=(2, 3), _9_scale=(1,)).items()}
    model = nn.Sequential(nn.Linear(3, 2))
    taken, anew = take_weights(model, saved, ("0.bias", "9.*"))
    assert (taken, anew) == (["0.weight"], ["0.bias"])
    assert bool((model[0].weight == 1).all())
