"""Training: the MNIST example's network on one thread, in Lehr's loop and in the loops that people use.

    .venv/bin/python -m benchmarks.train [--rounds 7] [--rows 60000] [--quick] [--only lehr keras]

Every contender is a process that trains the same network (784-128-10, ReLU, dropout 0.2, Adam, batches of 32) for two
epochs when it is its turn; the second counts. `naive` has one row at a time through a PIL image, `dataloader` is
DataLoader over a TensorDataset; Lightning and Keras have environments of their own. Targets are about samples a second;
the rate by processor time, which other work on the machine disturbs less, is beside it. Equal work: the same number of
parameters and rows, and an accuracy on the 10,000 test images within a stated distance of Lehr's.

Lehr's loop runs at batches of 128 and 512 too, for the share that it reaches of a product of two 1024x1024 matrices,
timed in the same process at each turn. `resnet` is a ResNet-8 in batches of 128: Lehr's loop with bfloat16 and the
channels-last layout against float32 in torch's own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rig import environments, figures
from benchmarks.rig.environments import PEERS, NotInstalled
from benchmarks.rig.figures import Target, spread
from benchmarks.rig.one_core import OneCore
from benchmarks.rig.store import ROOT
from benchmarks.rig.training_worker import MARK

CONTENDERS = ("lehr", "dataloader", "naive", "lightning", "keras", "resnet")
RESNETS = ("resnet", "resnet_plain")
PARAMETERS = 101_770
ACCURACY_WITHIN = 0.02
BATCH = 32
BATCHES = (32, 128, 512)
LIMITS = {"dataloader": 1 / 1.5, "lightning": 1 / 2.0, "naive": 1 / 7.0, "keras": 1 / 2.5}
GEMM_LIMITS = {32: 1 / 0.18, 128: 1 / 0.33, 512: 1 / 0.42}
RESNET_BATCH, RESNET_LIMIT = 128, 1 / 2.3
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Worker:
    """A contender's process, which waits until it is its turn."""

    def __init__(self, name: str, data: Path, core: OneCore) -> None:
        if name in ("lightning", "keras"):
            command = [str(environments.environment(name)), str(PEERS / name / "trainer.py"), str(data)]
        else:
            command = [sys.executable, "-m", "benchmarks.rig.torch_training", name, str(data)]
        self.name = name
        self._process = subprocess.Popen(
            core.wrap(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(os.environ) | ONE_THREAD | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
            text=True,
        )

    def train(self, seed: int, batch: int, epochs: int = 2) -> dict[str, Any]:
        """One training. Raises RuntimeError if the process ends instead."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"seed": seed, "batch": batch, "epochs": epochs}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.startswith(MARK):
            raise RuntimeError(f"{self.name} ended without an answer: {line!r}")
        answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
        return answer

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def write_data(path: Path, rows: int) -> None:
    """The first `rows` training images and all test images of the MNIST example."""
    arrays: dict[str, Any] = {}
    for split, prefix, count in (("train", "", rows), ("t10k", "test_", 10_000)):
        folder = ROOT / "examples/mnist/data"
        images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
        arrays[f"{prefix}x"] = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)[:count]
        arrays[f"{prefix}y"] = np.frombuffer(labels, np.uint8, offset=8)[:count].astype(np.int64)
    np.savez(path, **arrays)


def assert_equal_work(answers: dict[str, list[dict[str, Any]]]) -> None:
    """Raises AssertionError for another network, or one that learned clearly more or less than Lehr's."""
    reference = statistics.median(one["accuracy"] for one in answers["lehr"])
    assert len({one["parameters"] for name in RESNETS for one in answers.get(name, [])}) <= 1
    for name, rounds in answers.items():
        if name in RESNETS:
            continue
        for one in rounds:
            assert one["parameters"] == PARAMETERS, f"{name} has {one['parameters']} parameters"
        accuracy = statistics.median(one["accuracy"] for one in rounds)
        assert abs(accuracy - reference) <= ACCURACY_WITHIN, f"{name}: accuracy {accuracy}, lehr {reference}"


def measure(workers: list[Worker], rounds: int) -> tuple[dict[str, Any], dict[int, list[float]]]:
    """Interleaved, in an order that moves on; the first round is not counted."""
    answers: dict[str, list[dict[str, Any]]] = {worker.name: [] for worker in workers}
    shares: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for number in range(rounds + 1):
        start = number % len(workers)
        for worker in workers[start:] + workers[:start]:
            is_resnet = worker.name in RESNETS
            sizes = BATCHES if worker.name == "lehr" else (RESNET_BATCH if is_resnet else BATCH,)
            for batch in sizes:
                answer = worker.train(number + 1, batch)
                if number and batch == sizes[0]:
                    answers[worker.name].append(answer)
                if number and worker.name == "lehr":
                    shares[batch].append(answer["gemm_share"])
    return answers, shares


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds after one that is not (7)")
    parser.add_argument("--rows", type=int, help="training rows (60000; 12000 with --quick)")
    parser.add_argument("--quick", action="store_true", help="fewer rows, and so less accuracy")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    rows = options.rows or (12_000 if options.quick else 60_000)
    names = ["lehr", *(name for name in options.only if name != "lehr")]

    header = figures.machine()
    workers: list[Worker] = []
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lehr-bench-") as folder:
        data = Path(folder) / "mnist.npz"
        write_data(data, rows)
        core = OneCore()
        try:
            for name in names + (["resnet_plain"] if "resnet" in names else []):
                try:
                    workers.append(Worker(name, data, core))
                except NotInstalled as fault:
                    left_out[name] = str(fault)
            header |= {"core": f"{core.kind}, core {core.number}", "rows": rows, "left_out": left_out}
            for key, value in header.items():
                print(f"{key}: {value}", flush=True)
            answers, shares = measure(workers, options.rounds)
        finally:
            for worker in workers:
                worker.close()
            core.close()
    assert_equal_work(answers)
    report(answers, shares, rows, header, left_out, options)


def report(
    answers: dict[str, list[dict[str, Any]]],
    shares: dict[int, list[float]],
    rows: int,
    header: dict[str, Any],
    left_out: dict[str, str],
    options: argparse.Namespace,
) -> None:
    """Print both tables, the targets and the document."""
    wall, rates = (
        {
            name: spread([one.get("rows", rows) / one[kind] for one in rounds])
            for name, rounds in answers.items()
        }
        for kind in ("seconds", "cpu_seconds")
    )
    accuracies = {name: spread([one["accuracy"] for one in rounds]) for name, rounds in answers.items()}
    ratios = {name: wall[name].median / wall["lehr"].median for name in wall}
    figures.print_table(
        f"batches of {BATCH}, one thread: median (min to max) of {options.rounds} rounds",
        ["contender", "samples/s", "of lehr's", "samples per CPU second", "accuracy"],
        [
            [name, wall[name], f"{ratios[name]:.2f}", rates[name], f"{accuracies[name].median:.4f}"]
            for name in sorted(wall, key=lambda name: -wall[name].median)
        ],
    )
    gemm = {batch: spread(values) for batch, values in shares.items()}
    figures.print_table(
        "lehr's loop: share of the rate of a 1024x1024 product of matrices",
        ["batch", "share"],
        [[batch, of] for batch, of in gemm.items()],
    )
    targets = [
        Target(f"rate of {name} over lehr's", limit, ratios.get(name), left_out.get(name, ""))
        for name, limit in LIMITS.items()
    ]
    targets += [
        Target(f"rate of the product over the loop's, batches of {batch}", limit, 1 / gemm[batch].median)
        for batch, limit in GEMM_LIMITS.items()
    ]
    if "resnet" in wall:
        plain = wall["resnet_plain"].median / wall["resnet"].median
        targets.append(
            Target("rate of ResNet-8 in float32 and torch's layout over lehr's", RESNET_LIMIT, plain)
        )
    results = {
        "samples_per_cpu_second": rates,
        "samples_per_second": wall,
        "accuracy": accuracies,
        "gemm_share": gemm,
    }
    figures.finish("train", header, results | {"rounds": options.rounds}, targets, options.json_file)


if __name__ == "__main__":
    main()
