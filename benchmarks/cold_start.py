"""Cold start of the endpoint: from process start to the first answer, against what others would deploy.

Run: python -m benchmarks.cold_start [--rounds 9] [--quick] [--only NAME ...] [--models NAME ...] [--json-file PATH]

Every start is a new process of AWS's Runtime Interface Emulator on one core, with the model fetched from a local S3
(and, by predict, its champion read from a local DynamoDB) that run on another core. Rounds are interleaved: each round
starts every contender once per model, in an order that moves on, and the first round is not counted. Each first answer
must have the probabilities that a bare ONNX Runtime session gives. All contenders run on the same Python and the same
onnxruntime, except torch_eager, which runs in the project's own environment.

    predict                 the function as `sam build` makes it: its own layers, nothing written beside the code
    predict_signed          the same under PackageSignatures=require: KMS is asked about the package's signature
    naive                   boto3, onnxruntime's defaults, json
    powertools_validation   Powertools' resolver with validation, Logger, Metrics, boto3
    fastapi_mangum          FastAPI behind Mangum, boto3
    torch_eager             the network in PyTorch, boto3

Targets are ratios of medians. `session` is how long the session takes to open within predict, RSS the peak of the
function's process after its first answer. Prints tables, and as its last line one JSON document.
"""

from __future__ import annotations

from benchmarks.rig import figures, in_process
from benchmarks.rig.bench import Bench, ColdStart, open_bench, started
from benchmarks.rig.contenders import EMULATED
from benchmarks.rig.events import json_request
from benchmarks.rig.figures import Spread, Target, spread

ROUNDS = 9
LIMITS = {
    "mnist": {"naive": 0.60, "powertools_validation": 0.40, "fastapi_mangum": 0.35, "torch_eager": 0.15},
    "resnet18": {"naive": 0.45},
}
SESSION_MS = 15.0
SESSION_UP_TO_MB = 50.0
RSS_BEYOND_WEIGHTS_MB = 75.0


def measure(bench: Bench, rounds: int) -> dict[str, dict[str, list[ColdStart]]]:
    """Cold starts by model and contender; the first round of all is left out."""
    starts: dict[str, dict[str, list[ColdStart]]] = {
        model: {contender.name: [] for contender in bench.contenders} for model in bench.models
    }
    count = len(bench.contenders)
    for number in range(rounds + 1):
        for name, model in bench.models.items():
            for contender in [bench.contenders[(number + step) % count] for step in range(count)]:
                with started(bench, contender, model) as (_, start):
                    if number:
                        starts[name][contender.name].append(start)
    return starts


def session_creation(bench: Bench, rounds: int) -> dict[str, Spread | None]:
    """Milliseconds that predict's session takes to open, by model."""
    predict = next(contender for contender in bench.contenders if contender.name == "predict")
    found: dict[str, Spread | None] = {}
    for name, model in bench.models.items():
        events = {"json": json_request(name, model.row)}
        times = [
            in_process.measure(predict, bench.store, model, bench.core, events, blocks=1, calls=1)[
                "session_ms"
            ]
            for _ in range(rounds + 1)
        ][1:]
        found[name] = None if None in times else spread(times)
    return found


def targets(
    bench: Bench, starts: dict[str, dict[str, list[ColdStart]]], sessions: dict[str, Spread | None]
) -> list[Target]:
    found = []
    for name, by_contender in starts.items():
        if "predict" not in by_contender:
            continue
        own = spread([start.wall_ms for start in by_contender["predict"]]).median
        for other, limit in LIMITS[name].items():
            theirs = by_contender.get(other)
            value = own / spread([start.wall_ms for start in theirs]).median if theirs else None
            note = "" if theirs else bench.left_out.get(other, "left out by --only")
            found.append(Target(f"{name}: cold start / {other}", limit, value, note))
        weights = bench.models[name].weight_mb
        rss = spread([start.peak_rss_mb for start in by_contender["predict"]]).median
        note = f"weights {weights:.1f} MB"
        found.append(Target(f"{name}: RSS beyond weights, MB", RSS_BEYOND_WEIGHTS_MB, rss - weights, note))
        if weights <= SESSION_UP_TO_MB:
            session = sessions.get(name)
            note = "" if session else "no session is opened through onnxruntime's class"
            value = session.median if session else None
            found.append(Target(f"{name}: session creation, ms", SESSION_MS, value, note))
    return found


def main() -> None:
    options = figures.arguments(__doc__ or "", ("predict", "predict_signed", *EMULATED), rounds=ROUNDS)
    with open_bench(options.only, options.models, is_built=not options.source) as bench:
        starts = measure(bench, options.rounds)
        sessions = session_creation(bench, options.rounds) if "predict" in options.only else {}
        results: dict[str, dict[str, dict[str, Spread]]] = {}
        for model, by_contender in starts.items():
            results[model] = {
                name: {
                    "wall_ms": spread([start.wall_ms for start in found]),
                    "cpu_ms": spread([start.cpu_ms for start in found]),
                    "peak_rss_mb": spread([start.peak_rss_mb for start in found]),
                }
                for name, found in by_contender.items()
            }
            rows = [[name, *of.values()] for name, of in results[model].items()]
            title = f"{model}: process start to first answer, median (min to max) of {options.rounds} rounds"
            figures.print_table(title, ["contender", "wall ms", "cpu ms", "peak RSS MB"], rows)
        rows = [[name, session or "not measured"] for name, session in sessions.items()]
        figures.print_table("session creation within predict", ["model", "ms"], rows)
        document = {"cold_start": results, "session_ms": sessions, "rounds": options.rounds}
        goals = targets(bench, starts, sessions)
        figures.finish("cold_start", bench.header, document, goals, options.json_file)


if __name__ == "__main__":
    main()
