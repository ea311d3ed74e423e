"""The models that are served: the MNIST example's network, and a ResNet-18 of 1,000 classes and 46.8 MB of weights.

Both are built from seeds and exported by the trainer's own export, which proves the graph on rows; they are not
trained, since neither time nor memory depends on what the weights are. Published by the package_model function, so
that what is served is what a run would have published.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rig.store import BUCKET, ROOT, TABLE, LocalStore
from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Shard
from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE, TRAINING_FILE, Signature
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.sweep import DEFAULT_OBJECTIVE, Sweep, TrialRecord
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary
from lehr.contracts.workflow import PackageRequest, TrialResult
from lehr_runtime.shards import write_shard

NAMES = ("mnist", "resnet18")


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What a training job would have left, one row to ask with, and what a bare session answers to it."""

    name: str
    files: dict[str, bytes]
    state: bytes
    signature: Signature
    row: np.ndarray
    expected: np.ndarray

    @property
    def weight_mb(self) -> float:
        return len(self.files[MODEL_FILE]) / 1e6


def export(name: str, folder: Path, *, seed: int = 1) -> ExportedModel:
    """Build and export one of NAMES; `folder` is written to."""
    import torch

    from benchmarks.rig.torch_networks.networks import mlp, resnet18
    from lehr_trainer.export import export_model, make_signature

    torch.manual_seed(seed)
    if name == "mnist":
        network, labels, rows = mlp(), [str(digit) for digit in range(10)], _mnist_rows(64)
    else:
        generator = np.random.default_rng(seed)
        network, labels = resnet18(), [f"class-{number:04}" for number in range(1000)]
        rows = generator.integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    signature = make_signature("image_classification", list(rows.shape[1:]), labels)
    place = folder / f"{name}-{seed}"
    parity = export_model(network, place, rows, signature, threads=1)
    state = io.BytesIO()
    torch.save(network.state_dict(), state)
    row = rows[:1]
    return ExportedModel(
        name=name,
        files={
            MODEL_FILE: (place / MODEL_FILE).read_bytes(),
            SIGNATURE_FILE: signature.to_json(),
            TRAINING_FILE: untrained_summary(name, parity, {"torch": str(torch.__version__)}),
        },
        state=state.getvalue(),
        signature=signature,
        row=row,
        expected=bare_answer(place / MODEL_FILE, row),
    )


def bare_answer(path: Path, row: np.ndarray) -> np.ndarray:
    """What a plain session of one thread gives for `row`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {session.get_inputs()[0].name: row})[0]
    return answer


def untrained_summary(project: str, parity: Parity, versions: dict[str, str]) -> bytes:
    """training.json of a network that was built and exported, and not trained."""
    return TrainingSummary(
        project=project,
        run="bench",
        trial="0",
        epochs=[EpochRecord(epoch=1, loss=0.0, accuracy=0.0, samples_per_second=1.0, seconds=1.0)],
        parity=parity,
        parameters=0,
        training_rows=0,
        seconds=0.0,
        device="cpu",
        threads=1,
        weights_sha256="0" * 64,
        versions=versions,
    ).to_json()


def publish(model: ExportedModel, store: LocalStore, *, project: str = "", run: str = "bench") -> str:
    """Have the function package_model publish it; the peers' files go beside it. Returns the version."""
    project = project or model.name
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, body in model.files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    key = f"runs/{project}/{run}/trials/job-0/output/model.tar.gz"
    store.objects.put(key, buffer.getvalue())
    recipe = parse_recipe((ROOT / "examples/mnist/lehr.toml").read_text("utf-8"))
    store.objects.put(layout.recipe_key(project, run), recipe.to_json())
    classes = len(model.signature.labels)
    shard = write_shard({"x": model.row, "y": np.zeros(len(model.row), np.uint8)})
    store.objects.put(layout.datasets_prefix(project) + "shards/0", shard)
    manifest = DatasetManifest(
        project=project,
        format="idx",
        input_shape=model.signature.input.shape[1:],
        input_dtype="uint8",
        labels=model.signature.labels,
        shards=[
            Shard(
                split="test",
                key="shards/0",
                rows=len(model.row),
                bytes=len(shard),
                sha256=hashlib.sha256(shard).hexdigest(),
                class_counts=[len(model.row), *[0] * (classes - 1)],
            )
        ],
        mean=0.0,
        std=1.0,
        raw=[],
        seed=1,
        validation_fraction=0.1,
    )
    store.objects.put(layout.dataset_manifest_key(project, "bench"), manifest.to_json())
    store.objects.put(layout.project_head_key(project), json.dumps({"code_sha": "bench"}).encode())
    result = TrialResult(id="0", status="Completed", job="job-0", model=store.objects.uri(key), image="none")
    request = PackageRequest(
        project=project,
        run=run,
        dataset_version="bench",
        code_sha="bench",
        instance_type="ml.m5.large",
    )
    record = TrialRecord(
        id="0",
        name="0",
        round=0,
        point={},
        hyperparameters={},
        status="completed",
        objective=1.0,
        result=result,
    )
    sweep = Sweep(project=project, run=run, objective=DEFAULT_OBJECTIVE, trials=[record], best="0")
    store.objects.put(layout.sweep_key(project, run), sweep.to_json())
    environment = store.environment() | {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "ARTIFACT_BUCKET": BUCKET,
        "REGISTRY_TABLE": TABLE,
        "SIGNING_KEY": store.signing_key,
        "POWERTOOLS_TRACE_DISABLED": "1",
        "POWERTOOLS_METRICS_NAMESPACE": "Lehr",
        "POWERTOOLS_SERVICE_NAME": "package_model",
        "PYTHONPATH": ":".join(str(ROOT / part) for part in ("", "layers/core", "layers/runtime")),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rig.call_once", "functions.package_model.app"],
        input=request.to_json(),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"package_model failed:\n{done.stderr.decode(errors='replace')}")
    store.objects.put(f"peers/{project}/model.onnx", model.files[MODEL_FILE])
    store.objects.put(f"peers/{project}/state.pt", model.state)
    return str(json.loads(done.stdout.splitlines()[-1])["version"])


def promote(store: LocalStore, project: str, version: str, run: str) -> None:
    """Move the project's champion."""
    alias = store.registry.alias(project)
    store.registry.promote(project, version, run=run, generation=alias.generation if alias else 0)


def _mnist_rows(count: int) -> np.ndarray:
    path = ROOT / "examples/mnist/data/t10k-images-idx3-ubyte.gz"
    raw = gzip.decompress(path.read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:count].copy()
