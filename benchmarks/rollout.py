"""What a candidate beside the champion costs the requests that it gets: as a canary, compared, and as a shadow.

Run: python -m benchmarks.rollout [--rounds 40] [--quick] [--models NAME ...] [--json-file PATH]

In process, on one thread: the routes of the predict function with payload 2.0 events of one row as JSON, in blocks of
each kind in turn. Every request is one of the candidate's; those that are not cost what the canary's line of metrics
does. Processor time of this process, which other work on the machine disturbs less than wall time; the lines of
metrics go to /dev/null. Prints a table, and as its last line one JSON document.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any

import msgspec
import onnxruntime

from benchmarks.rig import figures
from benchmarks.rig.events import json_request
from benchmarks.rig.figures import Target, spread
from benchmarks.rig.models import ExportedModel, export
from functions.predict.champions import Champions
from functions.predict.embedded_metrics import write_scored
from functions.predict.handlers import Services
from functions.predict.routes import respond
from lehr.contracts.package import MODEL_FILE, ModelPackage
from lehr.contracts.registry import Alias
from lehr.http.gateway import Request
from lehr.json_log import JsonLog
from lehr_runtime.packages import LoadedModel
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session

ROUNDS = 40
LIMIT = 2.0
CALLS = {"mnist": 300, "resnet18": 3}
# The alias beyond its champion.
KINDS: dict[str, dict[str, Any]] = {
    "no candidate": {},
    "canary": {"canary": "v1", "weight": 1.0},
    "canary, compared": {"canary": "v1", "weight": 1.0, "is_compared": True},
    "shadow": {"canary": "v1", "weight": 1.0, "is_shadow": True},
}


class OneAlias:
    """In the place of the bucket and of the registry: one project, whose alias never changes."""

    def __init__(self, project: str, kind: str) -> None:
        self._alias = Alias(
            project=project, champion="v0", generation=1, owner="r", updated_at="", **KINDS[kind]
        )

    def alias(self, project: str) -> Alias:
        return self._alias


def services_of(kind: str, model: ExportedModel, folder: Path) -> Services:
    """The endpoint's services with two models of the same kind, and this alias."""

    def load(project: str, version: str) -> LoadedModel:
        signature = msgspec.structs.replace(model.signature, graph=MODEL_FILE)
        path = folder / f"{kind}-{version}.onnx"
        path.write_bytes(model.files[MODEL_FILE])
        session = open_session(path, threads=1)
        return LoadedModel(
            version=version,
            package=ModelPackage(project=project, files={}),
            signature=signature,
            predictor=Predictor(session, signature),
        )

    place: Any = OneAlias(model.name, kind)
    champions = Champions(place, place, load, JsonLog(), on_scored=write_scored)
    nothing: Any = None
    return Services(lambda: champions, lambda: nothing)


def measure(model: ExportedModel, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Microseconds of processor time for a request: of each kind the mean of each round's block."""
    event = json_request(model.name, model.row)
    worlds = {kind: services_of(kind, model, folder) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind, services in worlds.items():
            begin = process_time_ns()
            for _ in range(CALLS[model.name]):
                answer = respond(Request(event), services)
            elapsed = process_time_ns() - begin
            if answer["statusCode"] != 200:
                raise RuntimeError(f"{kind}: {answer['statusCode']}: {answer['body'][:500]}")
            if number:
                times[kind].append(elapsed / 1000 / CALLS[model.name])
    return times


def main() -> None:
    options = figures.arguments(__doc__ or "", list(KINDS), rounds=ROUNDS)
    header = figures.machine() | {"onnxruntime": onnxruntime.__version__, "rounds": options.rounds}
    results: dict[str, Any] = {}
    goals: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="lehr-bench-") as temporary:
        for name in options.models:
            model = export(name, Path(temporary))
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                times = measure(model, Path(temporary), options.rounds)
            bare = median(times["no candidate"])
            results[name] = {kind: {"us": spread(found)} for kind, found in times.items()}
            table = [
                [kind, spread(found), f"{median(found) - bare:+.1f}", f"{median(found) / bare:.2f}"]
                for kind, found in times.items()
            ]
            title = (
                f"{name}: us of processor time for a request, median (min to max) of {options.rounds} rounds"
            )
            figures.print_table(title, ["", "us", "more", "x"], table)
            by_canary = median(times["canary, compared"]) / median(times["canary"])
            goals.append(Target(f"{name}: compared / canary", LIMIT, by_canary, "a second scoring, no more"))
    figures.finish("rollout", header, results, goals, options.json_file)


if __name__ == "__main__":
    main()
