"""What a job is told, and what happens when it is told something wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lehr.contracts.dataset import DatasetManifest

MakeJob = Callable[..., Any]


def _remove(channel: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / "input/data" / channel)


def _hyperparameter(name: str, value: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "input/config/hyperparameters.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    return spoil


def _replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "input" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return spoil


def _delete(file: str) -> Callable[[Path], None]:
    return lambda root: (root / "input" / file).unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            _remove("train"),
            "channel 'train' is missing (the job declares: code, manifest, train, validation)",
        ),
        (_remove("validation"), "channel 'validation' is missing"),
        (_remove("code"), "channel 'code' is missing"),
        (_remove("manifest"), "channel 'manifest' is missing"),
        (
            _delete("data/train/shard-00001-of-00003.safetensors"),
            "no file 'shard-00001-of-00003.safetensors'",
        ),
        (_delete("data/code/lehr.toml"), "input/data/code: the channel has no file 'lehr.toml'"),
        (_delete("config/hyperparameters.json"), "hyperparameters.json: is missing"),
        (_hyperparameter("epochs", "many"), "Expected `int`, got `str` - at `$.epochs`"),
        (_hyperparameter("epochs", "0"), "`$.epochs`"),
        (_hyperparameter("epoch", "5"), "unknown field `epoch`"),
        (_hyperparameter("optimizer", "adamm"), "Invalid enum value 'adamm'"),
        (_hyperparameter("momentum", "0.9"), "momentum = 0.9 has no meaning for adam"),
        (_replace("config/hyperparameters.json", "{", "["), "hyperparameters.json: is not JSON"),
        (
            _replace("config/resourceconfig.json", '["algo-1"]', '["algo-2", "algo-3"]'),
            "is none of algo-2, algo-3",
        ),
        (
            _replace("data/code/lehr.toml", "hidden", "hiden"),
            "unknown key 'model.hiden' (did you mean 'hidden'?)",
        ),
        (_replace("data/code/lehr.toml", '"digits"', '"other"'), "lehr.toml: is of project 'other'"),
        (
            _replace("data/manifest/manifest.json", '"digits"', '"other"'),
            "manifest.json: is of project 'other'",
        ),
        (_replace("data/manifest/manifest.json", '"schema":1', '"schema":9'), "not a DatasetManifest"),
        (_replace("data/manifest/manifest.json", "[28,28]", "[32,32]"), "the manifest says uint8 [32, 32]"),
        (_replace("data/manifest/manifest.json", '"train"', '"test"'), "lists no training rows"),
    ],
)
def test_a_job_that_cannot_be_trained_fails_with_its_reason(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], reason: str
) -> None:
    job = make_job()
    spoil(job.root)
    assert job.run() == 1
    assert reason in job.failure
    output = capsys.readouterr().out
    assert output.rstrip().endswith(f"FAILED: {job.failure}")
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["LEHR_PROJECT", "LEHR_RUN", "LEHR_TRIAL"])
def test_a_job_without_its_name_is_refused(make_job: MakeJob, variable: str) -> None:
    job = make_job()
    assert job.run(**{variable: ""}) == 1
    assert f"the variable {variable} is not set" in job.failure


def test_a_number_of_threads_that_is_none_is_refused(make_job: MakeJob) -> None:
    job = make_job()
    assert job.run(LEHR_THREADS="two") == 1
    assert "LEHR_THREADS is 'two'" in job.failure


def test_one_flipped_bit_in_a_shard_is_noticed_before_training(make_job: MakeJob) -> None:
    job = make_job()
    shard = job.root / "input/data/train/shard-00000-of-00003.safetensors"
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    assert job.run() == 1
    assert (
        "shard-00000-of-00003.safetensors: is not the file of the manifest: its sha256 differs" in job.failure
    )
    assert not job.checkpoints


def test_a_label_outside_the_recipe_is_refused(make_job: MakeJob) -> None:
    job = make_job()
    manifest = DatasetManifest.from_json(job.manifest_path.read_bytes()).to_value()
    manifest["labels"] = ["0", "1", "2"]
    job.manifest_path.write_bytes(DatasetManifest.from_value(manifest).to_json())
    assert job.run() == 1
    assert "has label 9 of 3 classes" in job.failure


def test_nothing_held_out_needs_no_validation_channel(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(held_out=0)
    assert job.run() == 0
    assert job.summary.parity.rows == 600
    assert "validation_" not in capsys.readouterr().out


def test_the_reason_fits_in_what_sagemaker_keeps(make_job: MakeJob) -> None:
    job = make_job()
    job.set_hyperparameters(optimizer="a" * 5000)
    assert job.run() == 1
    assert len(job.failure) == 1024


def test_a_job_that_trains_after_all_leaves_no_old_reason(make_job: MakeJob) -> None:
    job = make_job(epochs=1)
    assert job.run(LEHR_RUN="") == 1
    assert job.failure
    assert job.run() == 0
    assert not job.failure


def test_settings_data_and_code_decide_the_fingerprint(make_job: MakeJob) -> None:
    from lehr_trainer.job import read_job

    def fingerprint(job: Any) -> str:
        return read_job(
            job.root, {"LEHR_PROJECT": "digits", "LEHR_RUN": "1", "LEHR_TRIAL": "0"}
        ).fingerprint()

    first = fingerprint(make_job())
    assert fingerprint(make_job()) == first
    others = [make_job(seed=2), make_job(rows=500), make_job(code="# anything")]
    assert len({first, *map(fingerprint, others)}) == 4


def test_hyperparameters_that_do_not_belong_together_are_refused_by_the_job(make_job: MakeJob) -> None:
    job = make_job(patience=2, held_out=0)
    assert job.run() == 1
    assert job.failure.startswith("input/config/hyperparameters.json: patience = 2 needs held-out rows")
