"""Warm requests of the endpoint against a bare `session.run`, on one core.

Run: python -m benchmarks.warm [--rounds 9] [--quick] [--models NAME ...] [--json-file PATH]

In process: `handler(event, context)` of the predict function as `sam build` makes it, with payload 2.0 events as API
Gateway builds them, in turn with `session.run` on the same model in the same process (one thread, onnxruntime's default
optimisations). Each round is a process of its own; the first is not counted.

Over HTTP: the same events through AWS's Runtime Interface Emulator, whose transport is part of what is measured, so it
has no ratio to `session.run`.

    json      one row as nested lists, POST /predict/<project>
    binary    one row as bytes behind the JSON header of the Open Inference Protocol, POST /v2/models/<project>/infer;
              left out, with a note, while the function does not know it

All answers must have the probabilities that the bare session gives. Ratios are of the medians within a process;
p99 is of all calls of all rounds. Prints tables, and as its last line one JSON document.
"""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.rig import figures, in_process
from benchmarks.rig.bench import Bench, open_bench, started
from benchmarks.rig.contenders import Contender
from benchmarks.rig.events import assert_equal, binary_request, json_request, to_answer
from benchmarks.rig.figures import Target, percentile, spread
from benchmarks.rig.models import ExportedModel

ROUNDS = 9
BARE = "session.run"
SIZES = {"mnist": (10, 200), "resnet18": (4, 10)}
LIMITS = {"mnist": {"json": 5.0, "binary": 2.5}, "resnet18": {"binary": 1.10}}
P99_BY_P50 = 4.0
UNKNOWN = "the function does not know the binary body"


def requests(model: ExportedModel) -> dict[str, dict[str, Any]]:
    signature = model.signature
    return {
        "json": json_request(model.name, model.row),
        "binary": binary_request(model.name, signature.input.name, signature.output.name, model.row),
    }


def measure_in_process(bench: Bench, predict: Contender, model: ExportedModel, rounds: int) -> dict[str, Any]:
    """Microseconds of every call by case, and per round the ratio of each case's median to the bare session's."""
    blocks, calls = SIZES[model.name]
    times: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        figure = in_process.measure(
            predict, bench.store, model, bench.core, requests(model), blocks=blocks, calls=calls
        )
        for case, result in figure["results"].items():
            if result["statusCode"] == 200:
                assert_equal(to_answer(json.dumps(result).encode()), model.expected, case)
            elif case != "binary" or result["statusCode"] not in (404, 405):
                raise RuntimeError(f"{case} is answered {result['statusCode']}: {result['body'][:500]}")
        if number:
            bare = percentile(figure["times_us"][BARE], 0.5)
            for case, found in figure["times_us"].items():
                times.setdefault(case, []).extend(found)
                ratios.setdefault(case, []).append(percentile(found, 0.5) / bare)
    return {"times_us": times, "ratios": ratios}


def measure_over_http(
    bench: Bench, predict: Contender, model: ExportedModel, rounds: int, cases: list[str]
) -> dict[str, list[float]]:
    """Microseconds of every call through the emulator, by case; each round is a process of its own."""
    blocks, calls = SIZES[model.name]
    times: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(rounds + 1):
        with started(bench, predict, model) as (running, _):
            prepared = {case: running.prepare(requests(model)[case]) for case in cases}
            for case in cases:
                assert_equal(running.answer(running.send(prepared[case])), model.expected, case)
            for _ in range(blocks if number else 1):
                for case in cases:
                    for _ in range(calls):
                        begin = time.perf_counter()
                        raw = running.send(prepared[case])
                        elapsed = time.perf_counter() - begin
                        if running.answer(raw).status != 200:
                            raise RuntimeError(f"{case}: a warm call failed: {raw[:500]!r}")
                        if number:
                            times[case].append(elapsed * 1e6)
    return times


def targets(model: str, inside: dict[str, Any], outside: dict[str, list[float]]) -> list[Target]:
    found = []
    for case, limit in LIMITS[model].items():
        measured, note = case, ""
        if case not in inside["ratios"]:
            note = UNKNOWN
            # A request has to be answered some way: where only the ratio of a request is asked for, it is JSON's.
            measured = "json" if "json" not in LIMITS[model] else ""
            note += "; JSON instead" if measured else ""
        value = spread(inside["ratios"][measured]).median if measured else None
        found.append(Target(f"{model}: {case} / session.run", limit, value, note))
    for place, times in (("in process", inside["times_us"]), ("over HTTP", outside)):
        for case, values in times.items():
            if case != BARE:
                ratio = percentile(values, 0.99) / percentile(values, 0.5)
                found.append(Target(f"{model}: {case} {place}, p99 / p50", P99_BY_P50, ratio))
    return found


def main() -> None:
    options = figures.arguments(__doc__ or "", ("predict",), rounds=ROUNDS)
    results: dict[str, Any] = {"rounds": options.rounds}
    goals: list[Target] = []
    with open_bench(["predict"], options.models, is_built=not options.source) as bench:
        (predict,) = bench.contenders
        for name, model in bench.models.items():
            inside = measure_in_process(bench, predict, model, options.rounds)
            cases = [case for case in inside["times_us"] if case != BARE]
            outside = measure_over_http(bench, predict, model, options.rounds, cases)
            rows, results[name] = [], {}
            for place, times in (("in process", inside["times_us"]), ("over HTTP", outside)):
                for case, values in times.items():
                    ratio = spread(inside["ratios"][case]) if place == "in process" else None
                    results[name][f"{case} {place}"] = {
                        "us": spread(values),
                        "p99_us": percentile(values, 0.99),
                        "by_session_run": ratio,
                    }
                    p99 = f"{percentile(values, 0.99):,.0f}"
                    rows.append([f"{case}, {place}", spread(values), p99, ratio or ""])
            if "binary" not in cases:
                rows.append(["binary", UNKNOWN, "", ""])
            title = (
                f"{name}: microseconds a request, median (min to max) of all calls of {options.rounds} rounds"
            )
            figures.print_table(title, ["", "us", "p99", "x session.run"], rows)
            goals += targets(name, inside, outside)
        figures.finish("warm", bench.header, results, goals, options.json_file)


if __name__ == "__main__":
    main()
