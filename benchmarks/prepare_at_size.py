"""A gigabyte of a table and of photographs from the plan to a sealed version, and what ten would take and cost.

    .venv/bin/python -m benchmarks.prepare_at_size [--megabytes 1000] [--only table photographs] [--folder DIR]

Every call that the state machine would make is a process of its own here, one after the other on one core, over a
folder instead of S3: its processor time, its greatest memory, and how many requests it makes. What a run on AWS would
take is worked out of that, with assumptions that are named in the table: seconds of a request and bytes a second of S3,
calls at once, the start of a function, prices. Copies within S3 cost this process what a hard link does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.rig import figures
from benchmarks.rig.folder_store import FolderStore
from benchmarks.rig.raw_data import write_large_table, write_photographs
from functions.prepare_shard.calls import prepare_call, prepare_until
from functions.prepare_shard.units import read_unit
from functions.seal_dataset.seal import seal
from functions.start_run.calls import SECONDS_PER_CALL, share_out
from functions.start_run.plan import list_raw
from functions.start_run.planned import plan_run, write_plan
from lehr import layout
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.workflow import SealRequest
from lehr.prices import load_prices

RUN = "run"
RECIPES = {
    "table": """
[project]
name = "bench"
task = "tabular_regression"
[data]
format = "csv"
files = ["*.csv"]
target = "y"
[training]
loss = "mse"
""",
    "photographs": """
[project]
name = "bench"
task = "image_classification"
[data]
format = "folders"
files = ["*.jpg"]
image_size = [224, 224]
labels = ["meadow", "street", "water"]
""",
}
# Assumptions: of a request to S3 from a function until its first byte; of S3 to a function of 2 GB, either way; of the
# start of a function that is cold; the template's ShardConcurrency; requests at once where a call has many.
REQUEST_S, S3_MB_S, START_S, AT_ONCE, FETCHED_AT_ONCE = 0.03, 75.0, 2.0, 8, 10
# Of the template.
MEMORY_GB = {"StartRun": 0.5, "PrepareShards": 2.0, "SealDataset": 2.0}
# Of a processor: a function has one for each 1,769 MB, and one thread can use no more.
CORES = {state: min(1.0, memory * 1024 / 1769) for state, memory in MEMORY_GB.items()}
TIMEOUT_S = {"StartRun": 60.0, "PrepareShards": 900.0, "SealDataset": 300.0}
TRANSITIONS_PER_CALL = 4
TENFOLD = 10


@dataclass(frozen=True)
class Call:
    """One call of a function: processor and wall seconds, its greatest memory, and what it asked of the store."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    requests: dict[str, int]
    moved_mb: float


class NoRegistry:
    """Of a project without a champion."""

    def alias(self, project: str) -> None:
        return None

    def add_dataset(self, record: object) -> None:
        pass


def called(work: Callable[[FolderStore], object], root: Path) -> Call:
    """`work` in a process of its own, so that its memory is its own too."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_work, args=(work, root, theirs))
    process.start()
    theirs.close()
    try:
        call: Call = mine.recv()
    except EOFError:
        raise SystemExit("a call failed; see above") from None
    process.join()
    return call


def _work(work: Callable[[FolderStore], object], root: Path, answer: Connection) -> None:
    store = FolderStore(root)
    wall, cpu = time.perf_counter(), time.process_time()
    work(store)
    answer.send(
        Call(
            cpu_s=time.process_time() - cpu,
            wall_s=time.perf_counter() - wall,
            peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            requests=dict(store.requests),
            moved_mb=(store.read + store.written) / 1e6,
        )
    )


def run_states(recipe: Recipe, root: Path) -> dict[str, list[Call]]:
    """The calls of each state, in order."""
    project = recipe.project.name
    registry: Any = NoRegistry()

    def plan(store: FolderStore) -> None:
        planned = plan_run(recipe, list_raw(store, project), RUN, store, store, registry)
        write_plan(planned, project, RUN, store)
        store.put(layout.recipe_key(project, RUN), recipe.to_json())

    def prepare(item: dict[str, Any], store: FolderStore) -> None:
        if item.get("kind") == "call":
            call = PrepareCall.from_value(item)
            prepare_call(call, store, store, is_late=lambda: False, may_begin=lambda: True)
        else:
            prepare_until(read_unit(item), store, store, "", is_late=lambda: False)

    states = {"StartRun": [called(plan, root)], "PrepareShards": []}
    calls = root / layout.calls_key(project, RUN)
    items = calls if calls.exists() else root / layout.plan_key(project, RUN)
    for item in msgspec.json.decode(items.read_bytes(), type=list[dict[str, Any]]):
        states["PrepareShards"].append(called(lambda store, item=item: prepare(item, store), root))  # type: ignore[misc]
    request = SealRequest(project=project, run=RUN)
    states["SealDataset"] = [called(lambda store: seal(request, store, registry), root)]
    return states


def on_aws(state: str, calls: Sequence[Call], units: int, times: int, at_once: int) -> dict[str, float]:
    """Calls, seconds of the state, and USD, of `times` as much data as was measured."""
    prices = load_prices()
    requests: Counter[str] = Counter()
    for call in calls:
        requests.update(call.requests)
    asked = sum(requests.values()) * REQUEST_S / at_once
    moved = sum(call.moved_mb for call in calls) / S3_MB_S
    busy = times * (sum(call.cpu_s for call in calls) / CORES[state] + asked + moved)
    count = len(calls)
    if state == "PrepareShards":
        count = len(list(share_out([busy / (units * times)] * units * times)))
    seconds = START_S + busy / count * ceil(count / AT_ONCE)
    usd = {
        "function": (busy + START_S * count) * MEMORY_GB[state] * prices.function_gb_second["arm64"],
        "requests": times
        * (
            (requests["put"] + requests["list"]) * prices.storage_million_puts
            + requests["get"] * prices.storage_million_gets
        )
        / 1e6,
        "transitions": count * TRANSITIONS_PER_CALL * prices.state_transition_million / 1e6,
    }
    return {"calls": count, "seconds": seconds, "seconds_per_call": busy / count, **usd}


def measure(kind: str, megabytes: int, folder: Path | None) -> dict[str, Any]:
    recipe = parse_recipe(RECIPES[kind])
    with tempfile.TemporaryDirectory(prefix="lehr-bench-", dir=folder) as place:
        root = Path(place)
        incoming = root / "incoming/bench"
        if kind == "table":
            examples = write_large_table(incoming / "rows.csv", megabytes)
        else:
            examples = write_photographs(incoming, megabytes)
        size = sum(path.stat().st_size for path in incoming.rglob("*") if path.is_file())
        print(f"{kind}: {examples:,} examples, {size / 1e6:,.0f} MB", flush=True)
        states = run_states(recipe, root)
        units = len(msgspec.json.decode((root / layout.plan_key("bench", RUN)).read_bytes()))
        shards = [one.stat().st_size for one in (root / "datasets").rglob("*.safetensors")]
    scaled = {
        state: {
            times: on_aws(state, calls, units, times, _asked_at_once(kind, state)) for times in (1, TENFOLD)
        }
        for state, calls in states.items()
    }
    print_states(f"{kind}, {size / 1e6:,.0f} MB in {units} units and {len(shards)} shards", states, scaled)
    return {
        "bytes": size, "examples": examples, "units": units, "shards": len(shards), "shard_bytes": sum(shards),
        "states": {state: [asdict(call) for call in calls] for state, calls in states.items()}, "on_aws": scaled,
    }  # fmt: skip


def _asked_at_once(kind: str, state: str) -> int:
    """Requests of one call that are on their way together: all but those of a table's unit."""
    return 1 if (state, kind) == ("PrepareShards", "table") else FETCHED_AT_ONCE


def print_states(
    title: str, states: dict[str, list[Call]], scaled: dict[str, dict[int, dict[str, float]]]
) -> None:
    rows = []
    for state, calls in states.items():
        one, ten = scaled[state][1], scaled[state][TENFOLD]
        usd = sum(ten[name] for name in ("function", "requests", "transitions"))
        cpu, peak = sum(call.cpu_s for call in calls), max(call.peak_mb for call in calls)
        requests = sum(sum(call.requests.values()) for call in calls)
        now = [state, len(calls), f"{cpu:.1f}", f"{peak:,.0f}", requests, f"{one['seconds']:.0f}"]
        then = [f"{ten[name]:.0f}" for name in ("calls", "seconds_per_call", "seconds")]
        rows.append([*now, *then, f"{usd:.4f}"])
    columns = [
        "state", "calls", "processor s", "peak MB", "requests", "on AWS, s", "x10: calls", "s a call", "s", "USD",
    ]  # fmt: skip
    figures.print_table(title, columns, rows)


def targets(results: dict[str, Any]) -> list[figures.Target]:
    """Whether ten times as much fits the limits of the template."""
    found = []
    for kind, result in results.items():
        for state, calls in result["states"].items():
            ten, limit = result["on_aws"][state][TENFOLD], TIMEOUT_S[state]
            name = f"{kind}, {state}: seconds of a call over its limit"
            found.append(
                figures.Target(f"{name} of {limit:g} s, tenfold", 1.0, ten["seconds_per_call"] / limit)
            )
            peak = max(call["peak_mb"] for call in calls) / (MEMORY_GB[state] * 1024)
            found.append(figures.Target(f"{kind}, {state}: peak memory over what it has", 1.0, peak))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, help="of raw data, of each kind (1000)")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--folder", type=Path, help="where to put some gigabytes for a while")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    assumed = {
        "request_s": REQUEST_S, "s3_mb_s": S3_MB_S, "start_s": START_S, "calls_at_once": AT_ONCE,
        "seconds_per_call_aimed_at": SECONDS_PER_CALL, "prices": load_prices().origin(),
    }  # fmt: skip
    header = figures.machine() | {"megabytes": options.megabytes, "assumed": assumed}
    for key, value in header.items():
        print(f"{key}: {value}", flush=True)
    results = {kind: measure(kind, options.megabytes, options.folder) for kind in options.only}
    figures.finish("prepare_at_size", header, results, targets(results), options.json_file)


if __name__ == "__main__":
    main()
