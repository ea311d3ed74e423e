"""A stock container of AWS becomes the trainer: the channel that publish_trainer writes, and start.sh in it.

The quick form runs on this environment's torch. The full form runs on what the container has: set LEHR_STOCK_PYTHON to
a Python 3.13 with the container's torch and nothing else of ours, and the packages that `sam build` packs are used:

    python3.13 -m venv stock && stock/bin/pip install torch==2.10.0
    LEHR_STOCK_PYTHON=stock/bin/python pytest -m slow tests/unit/trainer/test_stock_container.py
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.publish_trainer.publish import PACKAGES, START, SUMS, bundle, find_code

ROOT = Path(__file__).parents[3]
STOCK_PYTHON = os.environ.get("LEHR_STOCK_PYTHON", "")
MakeJob = Callable[..., Any]


def with_channel(job: Any, files: dict[str, bytes]) -> Path:
    """The job's root, with the channel `trainer` as SageMaker would have downloaded it."""
    channel: Path = job.root / "input/data/trainer"
    channel.mkdir()
    for name, body in files.items():
        (channel / name).write_bytes(body)
    return channel


def start(job: Any, python: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """The container's process: the entry point of the training job, and nothing of this process' environment."""
    environment = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(job.root),
        "LEHR_ML_ROOT": str(job.root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LEHR_PROJECT": "digits",
        "LEHR_RUN": "run-1",
        "LEHR_TRIAL": "0",
    } | environ
    command = ["bash", str(job.root / "input/data/trainer" / START), *arguments]
    return subprocess.Popen(
        command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def files() -> dict[str, bytes]:
    return bundle(find_code())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """This interpreter under the name that the container has for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # Not a link: a virtual environment knows itself by the path that it was called by.
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder / "python3"


def test_the_container_trains_with_the_code_of_the_channel(
    make_job: MakeJob, files: dict[str, bytes], here: Path
) -> None:
    job = make_job(epochs=1)
    with_channel(job, files)
    process = start(job, here, "train")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert (job.root / "model/model.onnx").is_file()
    assert job.summary.versions["lehr-trainer"]
    # Where a traceback or a profile would point: not to the source tree of this machine.
    assert (job.root / "trainer/lehr_trainer/main.py").is_file()


def test_the_code_of_the_channel_goes_before_any_other(
    make_job: MakeJob, files: dict[str, bytes], here: Path
) -> None:
    job = make_job(epochs=1)
    with_channel(job, files)
    archive = job.root / "input/data/trainer/lehr.tar.gz"
    changed = job.root / "changed/lehr_trainer"
    changed.mkdir(parents=True)
    (changed / "__init__.py").write_text("")
    (changed / "__main__.py").write_text("import sys; print('the channel speaks', sys.argv[1:])")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(changed, arcname="lehr_trainer")
    sums = subprocess.run(
        ["sha256sum", START, archive.name], cwd=archive.parent, capture_output=True, text=True, check=True
    ).stdout
    (archive.parent / SUMS).write_text(sums)
    process = start(job, here, "batch")
    assert process.communicate(timeout=60)[0].splitlines()[-1] == "the channel speaks ['batch']"


def test_a_channel_that_arrived_damaged_trains_nothing(
    make_job: MakeJob, files: dict[str, bytes], here: Path
) -> None:
    job = make_job(epochs=1)
    body = bytearray(files["lehr.tar.gz"])
    body[len(body) // 2] ^= 1
    with_channel(job, files | {"lehr.tar.gz": bytes(body)})
    process = start(job, here, "train")
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert "lehr.tar.gz: FAILED" in output
    assert not (job.root / "trainer").exists()


def test_sigterm_reaches_the_trainer_and_leaves_a_checkpoint(
    make_job: MakeJob, files: dict[str, bytes], here: Path
) -> None:
    job = make_job(rows=1000, batch_size=1, epochs=50)
    with_channel(job, files)
    process = start(job, here, "train")
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1/" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert job.checkpoints


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The channel with the packages that `sam build` packs for the container."""
    folder = tmp_path_factory.mktemp("layer")
    source = folder / "trainer_image"
    shutil.copytree(ROOT / "trainer_image", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = f"{Path(STOCK_PYTHON).absolute().parent}:{os.environ['PATH']}"
    make = ["make", "--file", "Makefile", "build-TrainerLayer"]
    environment = os.environ | {"ARTIFACTS_DIR": str(folder / "built"), "PATH": path}
    made = subprocess.run(make, cwd=source, env=environment, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    code = find_code() | {"lehr_trainer": folder / "built/python/lehr_trainer"}
    return bundle(code)


@pytest.mark.slow
@pytest.mark.skipif(
    not STOCK_PYTHON, reason="LEHR_STOCK_PYTHON names no interpreter with the container's torch"
)
def test_the_container_of_aws_has_all_that_the_trainer_needs(
    make_job: MakeJob, built: dict[str, bytes]
) -> None:
    assert PACKAGES in built
    job = make_job(rows=1800, epochs=3)
    with_channel(job, built)
    process = start(job, Path(STOCK_PYTHON).absolute(), "train")
    output = process.communicate(timeout=600)[0]
    print(output)
    assert process.returncode == 0, output
    summary = job.summary
    assert summary.parity.rows >= 1000
    assert summary.parity.max_absolute_difference <= summary.parity.tolerance
    assert summary.versions["python"].startswith("3.13.")
    print(summary.versions)
