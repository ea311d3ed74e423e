"""What the benchmarks of the endpoint share: store, core, published models, contenders, and one cold start."""

from __future__ import annotations

import http.client
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rig import environments, figures
from benchmarks.rig.contenders import Contender, Running, peer, predict_contender
from benchmarks.rig.environments import NotInstalled
from benchmarks.rig.events import assert_equal, json_request
from benchmarks.rig.models import ExportedModel, export, promote, publish
from benchmarks.rig.one_core import OneCore
from benchmarks.rig.store import LocalStore

PACKAGES = (
    "aws-lambda-powertools",
    "bentoml",
    "boto3",
    "fastapi",
    "litserve",
    "mangum",
    "numpy",
    "onnxruntime",
    "pydantic",
)
_READY_LIMIT_S = 60


@dataclass(frozen=True)
class Bench:
    """Everything that is made before anything is measured; `left_out` says why a peer is not among the contenders."""

    store: LocalStore
    core: OneCore
    models: dict[str, ExportedModel]
    contenders: list[Contender]
    left_out: dict[str, str]
    header: dict[str, Any]


@contextmanager
def open_bench(names: Sequence[str], models: Sequence[str], *, is_built: bool) -> Iterator[Bench]:
    """Make it, print what it is, and end all of it."""
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    header = figures.machine()
    contenders, left_out, versions = [], {}, {}
    for name in names:
        try:
            if name.startswith("predict"):
                tree, python = environments.predict_tree(is_built=is_built)
                contenders.append(predict_contender(tree, python, is_signed=name == "predict_signed"))
                header["predict"] = tree.kind
            else:
                contenders.append(peer(name))
                of = ("torch", "boto3") if name == "torch_eager" else PACKAGES
                versions[name] = environments.versions(contenders[-1].python, of)
        except NotInstalled as fault:
            left_out[name] = str(fault)
    folder = Path(tempfile.mkdtemp(prefix="lehr-bench-"))
    core = OneCore()
    try:
        store = LocalStore(folder)
        try:
            exported = {}
            for name in models:
                exported[name] = export(name, folder)
                promote(store, name, publish(exported[name], store), "bench")
            header |= {
                "core": f"{core.kind}, core {core.number}; store and driver on the others",
                "peers_python": environments.lambda_python()[1],
                "versions": versions,
                "left_out": left_out,
            }
            for key in ("machine", "core", "predict", "peers_python", "load_average"):
                if key in header:
                    print(f"{key}: {header[key]}")
            for name, reason in left_out.items():
                print(f"left out: {name}: {reason}")
            yield Bench(store, core, exported, contenders, left_out, header)
        finally:
            store.close()
    finally:
        core.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class ColdStart:
    """One process, from its start to its first answer, which was the right one."""

    wall_ms: float
    cpu_ms: float
    peak_rss_mb: float


@contextmanager
def started(bench: Bench, contender: Contender, model: ExportedModel) -> Iterator[tuple[Running, ColdStart]]:
    """Start `contender`, ask it once, compare its answer with a bare session's, and end it after the block."""
    event = json_request(model.name, model.row)
    running = Running(contender, bench.store, model.name, core=bench.core)
    try:
        prepared = running.prepare(event)
        raw = _first_answer(running, prepared)
        wall_ms = (time.perf_counter() - running.started_at) * 1000
        usage = running.usage()
        assert_equal(running.answer(raw), model.expected, contender.name)
        yield running, ColdStart(wall_ms, usage.cpu_ms, usage.peak_rss_mb)
    finally:
        running.close()


def _first_answer(running: Running, prepared: tuple[str, bytes, dict[str, str]]) -> bytes:
    """A server may listen before it can answer; a function's first answer counts, whatever it is."""
    deadline = time.monotonic() + _READY_LIMIT_S
    while True:
        try:
            return running.send(prepared)
        except (RuntimeError, OSError, http.client.HTTPException) as fault:
            if running.contender.handler or time.monotonic() > deadline or not running.is_alive():
                raise RuntimeError(
                    f"{running.contender.name}: {fault}\n{running.output()[-2000:]}"
                ) from fault
            time.sleep(0.005)
