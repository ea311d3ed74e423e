"""Training jobs on disk, as SageMaker would lay them out, over a few hundred handwritten digits."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from lehr.contracts.dataset import DatasetManifest, Shard, Split
from lehr.contracts.recipe_tables import Training
from lehr.contracts.training import Int8, Parity, TrainingSummary, to_hyperparameters
from lehr_runtime.shards import write_shard
from lehr_trainer import main, trained_package
from lehr_trainer.stop import StopFlag

MNIST = Path(__file__).parents[3] / "examples" / "mnist" / "data"
# Two trainings of one job need not find the same number of threads to be the fastest, and that decides bits.
ONE_THREAD = {"LEHR_THREADS": "1"}
ENVIRONMENT = {"LEHR_PROJECT": "digits", "LEHR_RUN": "run-1", "LEHR_TRIAL": "0"} | ONE_THREAD

RECIPE = """
[project]
name = "digits"
task = "image_classification"

[data]
format = "idx"
train = { images = "x", labels = "y" }
test = { images = "x", labels = "y" }
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

[model]
"""
MLP = 'name = "mlp"\nhidden = [16]\ndropout = 0.2\n'


@dataclass(frozen=True)
class JobFolder:
    """A job under `root`, and what came of it."""

    root: Path

    def run(self, stop: StopFlag | None = None, **environ: str) -> int:
        return main.run(self.root, stop, ENVIRONMENT | environ)

    def start(self) -> subprocess.Popen[str]:
        """The job in a process of its own, as the container starts it."""
        return subprocess.Popen(
            [sys.executable, "-m", "lehr_trainer", "train"],
            env=os.environ | ENVIRONMENT | {"LEHR_ML_ROOT": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else ""

    @property
    def summary(self) -> TrainingSummary:
        return TrainingSummary.from_json((self.root / "model/training.json").read_bytes())

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.root / "checkpoints").glob("*.checkpoint"))

    @property
    def manifest_path(self) -> Path:
        return self.root / "input/data/manifest/manifest.json"

    def set_hyperparameters(self, **changes: str) -> None:
        path = self.root / "input/config/hyperparameters.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


MakeJob = Callable[..., JobFolder]


@pytest.fixture(autouse=True)
def _torch_is_left_as_it_was() -> Iterator[None]:
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the second that an export takes, where a test is about the weights."""
    parity = Parity(rows=0, max_absolute_difference=0.0, tolerance=0.0, argmax_disagreements=0)

    def leave_out(model: object, folder: Path, *rest: object, **options: object) -> Parity:
        folder.mkdir(exist_ok=True)
        return parity

    monkeypatch.setattr(trained_package, "export_model", leave_out)
    monkeypatch.setattr(
        trained_package, "publish_int8", lambda *rest: Int8(is_published=False, reason="left out")
    )


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """2,000 images uint8 [n, 28, 28] and their labels, of the test set, which is the smaller file."""
    images = gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(images, np.uint8, count=2000 * 784, offset=16).reshape(-1, 28, 28)
    return x, np.frombuffer(labels, np.uint8, count=2000, offset=8)


@pytest.fixture
def make_job(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> MakeJob:
    """Builds a job; keyword arguments that are no parameters here are [training] settings."""
    numbers = iter(range(100))

    def make(
        *,
        rows: int = 600,
        held_out: int = 100,
        model: str = MLP,
        code: str | None = None,
        data_set: tuple[np.ndarray, np.ndarray] | None = None,
        **settings: Any,
    ) -> JobFolder:
        root = tmp_path / f"job-{next(numbers)}"
        data = root / "input/data"
        for folder in ("input/config", "input/data/manifest", "input/data/code", "input/data/train"):
            (root / folder).mkdir(parents=True)
        x, y = data_set or digits
        cuts: list[tuple[Split, int, int]] = [("train", 0, rows // 2), ("train", rows // 2, rows)]
        if held_out:
            (data / "validation").mkdir()
            cuts.append(("validation", rows, rows + held_out))
        manifest = DatasetManifest(
            project="digits",
            format="idx",
            input_shape=[28, 28],
            input_dtype="uint8",
            labels=[str(label) for label in range(10)],
            shards=[_write(data, number, cut, x, y) for number, cut in enumerate(cuts)],
            mean=33.0,
            std=78.0,
            raw=[],
            seed=1,
            validation_fraction=0.1,
        )
        (data / "manifest/manifest.json").write_bytes(manifest.to_json())
        (data / "code/lehr.toml").write_text(RECIPE + model)
        if code is not None:
            (data / "code/digit_model.py").write_text(code)
        training = msgspec.convert({"epochs": 2, "seed": 1} | settings, type=Training)
        (root / "input/config/hyperparameters.json").write_text(json.dumps(to_hyperparameters(training)))
        channels: dict[str, dict[str, str]] = {path.name: {} for path in data.iterdir()}
        (root / "input/config/inputdataconfig.json").write_text(json.dumps(channels))
        (root / "input/config/resourceconfig.json").write_text(
            '{"current_host": "algo-1", "hosts": ["algo-1"]}'
        )
        return JobFolder(root)

    return make


def _write(data: Path, number: int, cut: tuple[Split, int, int], x: np.ndarray, y: np.ndarray) -> Shard:
    split, first, last = cut
    raw = write_shard({"x": x[first:last], "y": y[first:last]})
    key = f"{split}/shard-{number:05d}-of-00003.safetensors"
    (data / key).write_bytes(raw)
    return Shard(
        split=split,
        key=key,
        rows=last - first,
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=np.bincount(y[first:last], minlength=10).tolist(),
    )


class StopAfter(StopFlag):
    """Asks to stop once it was looked at so many times: after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @property
    def is_set(self) -> bool:  # type: ignore[override]
        self._left -= 1
        return self._left <= 0


@pytest.fixture
def stop_after() -> type[StopAfter]:
    return StopAfter


@pytest.fixture
def kill() -> Callable[[subprocess.Popen[str], signal.Signals], str]:
    """Sends a signal and returns the rest of the output."""

    def send(process: subprocess.Popen[str], number: signal.Signals) -> str:
        process.send_signal(number)
        return process.communicate(timeout=60)[0]

    return send
