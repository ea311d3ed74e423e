"""Accuracy over seeds: the MNIST example's recipe in Lehr's loop, and the same in Keras on TensorFlow.

    .venv/bin/python -m benchmarks.accuracy [--seeds 10] [--only lehr]

784-128-10, ReLU, dropout 0.2, Adam at 0.001, batches of 32, 5 epochs over all 60,000 training rows, one thread;
accuracy on the 10,000 test images after the last epoch, which no choice was made by. One seed says little: two seeds of
the same recipe differ by a tenth of a percentage point and more. Seeds are taken turn about, so that both have had as
many when it is stopped. Keras has an environment of its own, made at the first run; without it, it is left out.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rig import figures
from benchmarks.rig.environments import NotInstalled
from benchmarks.rig.figures import Target
from benchmarks.rig.one_core import OneCore
from benchmarks.train import BATCH, PARAMETERS, Worker, write_data

CONTENDERS = ("lehr", "keras")
EPOCHS, ROWS = 5, 60_000
LEAST, WITHIN = 0.975, 0.002


def summary(accuracies: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation of one seed and standard error of the mean; None of the latter two for one seed."""
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return {
        "mean": statistics.fmean(accuracies),
        "deviation": deviation,
        "standard_error": None if deviation is None else deviation / math.sqrt(len(accuracies)),
        "accuracies": list(accuracies),
    }


def difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float | None]:
    """How much higher the mean of `one` is, with the standard error of that."""
    errors = (one["standard_error"], other["standard_error"])
    error = None if None in errors else math.hypot(*errors)
    return one["mean"] - other["mean"], error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1 to this (10)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    header = figures.machine() | {"seeds": options.seeds, "epochs": EPOCHS, "rows": ROWS}
    workers, left_out = [], {}
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="lehr-bench-") as folder:
        data = Path(folder) / "mnist.npz"
        write_data(data, ROWS)
        core = OneCore()
        try:
            for name in options.only:
                try:
                    workers.append(Worker(name, data, core))
                except NotInstalled as fault:
                    left_out[name] = str(fault)
            header |= {"left_out": left_out}
            for key, value in header.items():
                print(f"{key}: {value}", flush=True)
            for seed in range(1, options.seeds + 1):
                for worker in workers:
                    answer = worker.train(seed, BATCH, EPOCHS)
                    assert answer["parameters"] == PARAMETERS, f"{worker.name}: another network"
                    found.setdefault(worker.name, []).append(answer["accuracy"])
                    print(f"seed {seed}: {worker.name} {answer['accuracy']:.4f}", flush=True)
        finally:
            for worker in workers:
                worker.close()
            core.close()
    report({name: summary(values) for name, values in found.items()}, header, left_out, options)


def report(
    results: dict[str, Any], header: dict[str, Any], left_out: dict[str, str], options: argparse.Namespace
) -> None:
    """Print the table, the targets and the document."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.3%}"

    figures.print_table(
        f"accuracy on 10,000 test rows after {EPOCHS} epochs",
        ["contender", "seeds", "mean", "standard deviation", "of the mean", "least", "greatest"],
        [
            [
                name,
                len(one["accuracies"]),
                *map(percent, (one["mean"], one["deviation"], one["standard_error"])),
                *map(percent, (min(one["accuracies"]), max(one["accuracies"]))),
            ]
            for name, one in results.items()
        ],
    )
    apart: float | None = None
    if set(results) == set(CONTENDERS):
        apart, error = difference(results["keras"], results["lehr"])
        results |= {"keras_over_lehr": apart, "keras_over_lehr_standard_error": error}
        print(f"\nKeras is {percent(apart)} above Lehr, with a standard error of {percent(error)}")
    lehr = results.get("lehr")
    targets = [
        Target(f"how far Lehr's mean is below {LEAST}", 0.0, lehr and LEAST - lehr["mean"]),
        Target("how far Lehr's mean is below that of Keras", WITHIN, apart, left_out.get("keras", "")),
    ]
    figures.finish("accuracy", header, results, targets, options.json_file)


if __name__ == "__main__":
    main()
