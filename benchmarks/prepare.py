"""How fast raw data becomes shards, a core, against pandas, pyarrow and a plain copy.

    .venv/bin/python -m benchmarks.prepare [--rounds 5] [--quick] [--megabytes 64]

Every format holds the same two tables: twelve columns of numbers, and eight of numbers with two of categories. `read`
is from a file to arrays (float32, and codes of texts), which is what the peers are asked for too; `prepare` is all that
a call of the function does: read, refuse, split, permute, count, write safetensors, sha256. Peers are in an environment
of their own, on one thread; everything takes turns, on one core. Megabytes are of the file, and the rates are of
processor time, which other work on the machine disturbs less than wall time. A function of 2 GB has 1.16 cores, of
which this takes one: the USD are for as many seconds of it, at this machine's rate.
Whole runs of gigabytes are `benchmarks.prepare_at_size`'s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rig import environments, figures
from benchmarks.rig.figures import Spread, Target, spread
from benchmarks.rig.folder_store import FolderStore
from benchmarks.rig.raw_data import FORMATS, MB, TABLES, write_tables
from functions.prepare_shard.prepare import prepare
from functions.prepare_shard.table_sources import open_blocks
from functions.prepare_shard.tables import prepare_table
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table
from lehr.contracts.dataset import ObjectRef, PrepareUnit
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.table_units import PrepareTableUnit
from lehr.prices import load_prices
from lehr_runtime.shards import read_shard, write_shard

FUNCTION_GB = 2.0
CSV_MB_S, IDX_MB_S, WRITE_SHARE, READ_SHARE = 80.0, 200.0, 0.35, 0.6
RECIPE = """
[project]
name = "bench"
task = "tabular_regression"
[data]
format = "{0}"
files = ["*.{0}"]
target = "y"
[training]
loss = "mse"
"""
Case = Callable[[], None]


def units_of(root: Path, kind: str) -> tuple[list[PrepareTableUnit], FolderStore]:
    recipe: Recipe = parse_recipe(RECIPE.format(kind))
    store = FolderStore(root, keeps=False)
    units, _ = plan_table(recipe, list_raw(store, "bench"), store, "run")
    return units, store


def reading(units: Sequence[PrepareTableUnit], store: Any) -> Case:
    def read() -> None:
        for unit in units:
            for _ in open_blocks(unit, store)[1]:
                pass

    return read


def preparing(units: Sequence[PrepareTableUnit], store: Any) -> Case:
    def run() -> None:
        for unit in units:
            prepare_table(unit, store, store)

    return run


def images(root: Path, rows: int) -> tuple[Case, int]:
    """One unit of `rows` images of MNIST's size."""
    random = np.random.default_rng(2)
    x = random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
    y = random.integers(0, 10, rows, dtype=np.uint8)
    root.mkdir()
    for name, array in (("x", x), ("y", y)):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (root / name).write_bytes(head + array.tobytes())
    store = FolderStore(root, keeps=False)
    refs = [
        ObjectRef(bucket="bench", key=name, etag="e", bytes=(root / name).stat().st_size) for name in "xy"
    ]
    unit = PrepareUnit(
        project="bench", run="run", index=0, of=1, source="train", images=refs[0], labels=refs[1],
        first=0, count=rows, total=rows, seed=1, validation_fraction=0.05, classes=10,
    )  # fmt: skip
    return lambda: void(prepare(unit, store, store)), x.nbytes + y.nbytes


def void(value: object) -> None:
    """Forget it."""


def shard_cases(megabytes: int) -> dict[str, tuple[Case, int]]:
    x = np.random.default_rng(3).integers(0, 256, megabytes * 1_000_000, dtype=np.uint8).reshape(-1, 1000)
    raw = write_shard({"x": x})

    def write() -> None:
        hashlib.sha256(write_shard({"x": x})).hexdigest()

    return {
        "shard: write + sha256": (write, x.nbytes),
        "shard: sha256 alone": (lambda: void(hashlib.sha256(raw).hexdigest()), x.nbytes),
        "shard: read, copied out": (lambda: void(read_shard(raw)["x"].copy()), x.nbytes),
        "shard: memcpy": (lambda: void(x.copy()), x.nbytes),
    }


class Peers:
    """pandas and pyarrow in a process of their own, on the same core."""

    def __init__(self) -> None:
        python = environments.environment("tables")
        self.versions = environments.versions(python, ("numpy", "pandas", "pyarrow"))
        script = str(environments.PEERS / "tables/reader.py")
        self._process = subprocess.Popen(
            [str(python), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self, peer: str, kind: str, path: Path) -> float:
        """Processor seconds of one reading."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{peer} {kind} {path}\n")
        self._process.stdin.flush()
        _, cpu = json.loads(self._process.stdout.readline())
        return float(cpu)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def measured(case: Case) -> float:
    started = time.process_time()
    case()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds after one that is not (5)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of a quarter of the bytes")
    parser.add_argument("--megabytes", type=int, default=64, help="of CSV in a table (64)")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    rounds, megabytes = options.rounds, options.megabytes
    if options.quick:
        rounds, megabytes = 3, megabytes // 4
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    peers = Peers()
    header = figures.machine() | {"rounds": rounds, "megabytes": megabytes, "versions": peers.versions}
    for key, value in header.items():
        print(f"{key}: {value}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lehr-bench-") as place:
        root = Path(place)
        cases: dict[str, tuple[Callable[[], float], int]] = {}
        for table in TABLES:
            write_tables(root, table, megabytes)
            for kind in FORMATS:
                units, store = units_of(root / table / kind, kind)
                path = root / table / kind / units[0].file.key
                size = path.stat().st_size
                for name, case in (("read", reading(units, store)), ("prepare", preparing(units, store))):
                    cases[f"{kind} {table}: {name}"] = (lambda case=case: measured(case)), size  # type: ignore[misc]
                for peer in ("pandas", "pyarrow"):
                    cases[f"{kind} {table}: {peer}"] = (
                        (
                            lambda peer=peer, kind=kind, path=path: peers.seconds(peer, kind, path)  # type: ignore[misc]
                        ),
                        size,
                    )
        idx, size = images(root / "images", megabytes * 1_000_000 // 784)
        for name, (case, count) in {"idx: prepare": (idx, size), **shard_cases(megabytes)}.items():
            cases[name] = (lambda case=case: measured(case)), count  # type: ignore[misc]
        rates = measure(cases, rounds)
        peers.close()
        results: dict[str, Any] = {"mb_s": rates, "usd_per_gb": report(rates)}
    figures.finish("prepare", header, results, targets(rates), options.json_file)


def measure(cases: dict[str, tuple[Callable[[], float], int]], rounds: int) -> dict[str, Spread]:
    """MB/s of each case, turn about."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds, size = cases[name][0](), cases[name][1]
            if number:
                found[name].append(size / MB / seconds)
    return {name: spread(values) for name, values in found.items()}


def report(rates: dict[str, Spread]) -> dict[str, float]:
    price = load_prices().function_gb_second["arm64"]
    usd = {
        name: 1000 / rate.median * FUNCTION_GB * price for name, rate in rates.items() if "prepare" in name
    }
    figures.print_table(
        "a core",
        ["case", "MB/s", "USD a GB"],
        [[name, rate, f"{usd[name]:.5f}" if name in usd else ""] for name, rate in rates.items()],
    )
    return usd


def targets(rates: dict[str, Spread]) -> list[Target]:
    def rate(name: str) -> float:
        return rates[name].median

    write = rate("shard: write + sha256") / rate("shard: sha256 alone")
    read = rate("shard: read, copied out") / rate("shard: memcpy")
    return [
        Target(
            f"csv numbers to float32: {CSV_MB_S:g} MB/s over its rate",
            1.0,
            CSV_MB_S / rate("csv numbers: read"),
        ),
        Target(f"idx, all of it: {IDX_MB_S:g} MB/s over its rate", 1.0, IDX_MB_S / rate("idx: prepare")),
        Target(
            f"shard write + sha256: {WRITE_SHARE} over its share of sha256 alone", 1.0, WRITE_SHARE / write
        ),
        Target(f"shard read: {READ_SHARE} over its share of memcpy", 1.0, READ_SHARE / read),
    ]


if __name__ == "__main__":
    main()
