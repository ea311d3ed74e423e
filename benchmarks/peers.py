"""The same model behind everything that people deploy: cold, warm, requests a second, memory.

Run: python -m benchmarks.peers [--rounds 5] [--quick] [--only NAME ...] [--models NAME ...] [--json-file PATH]

As benchmarks.cold_start: one core, one local store, interleaved rounds of which the first is not counted, equal
answers. Functions are asked through AWS's Runtime Interface Emulator; LitServe and BentoML, which are no functions,
through their own HTTP servers. After the first answer one client asks one row at a time in a closed loop: the loop
gives p50, p99 and requests a second. RSS is the sum of the peaks of all processes that a contender needs.

A peer that does not install is a line that says why. The targets say that none of them is better. Prints tables, and
as its last line one JSON document.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.rig import figures
from benchmarks.rig.bench import Bench, open_bench, started
from benchmarks.rig.contenders import EMULATED, SERVERS, Contender
from benchmarks.rig.events import assert_equal, json_request
from benchmarks.rig.figures import Spread, Target, percentile, spread
from benchmarks.rig.models import ExportedModel

ROUNDS = 5
REQUESTS = {"mnist": (50, 500), "resnet18": (3, 30)}
COLUMNS = ("cold_ms", "p50_ms", "p99_ms", "requests_per_s", "peak_rss_mb")


@dataclass(frozen=True)
class Round:
    """One process of one contender."""

    cold_ms: float
    p50_ms: float
    p99_ms: float
    requests_per_s: float
    peak_rss_mb: float


def measure_once(bench: Bench, contender: Contender, model: ExportedModel) -> Round:
    warm_up, count = REQUESTS[model.name]
    with started(bench, contender, model) as (running, start):
        prepared = running.prepare(json_request(model.name, model.row))
        times, raw = [], b""
        for number in range(warm_up + count):
            begin = time.perf_counter()
            raw = running.send(prepared)
            elapsed = time.perf_counter() - begin
            if number >= warm_up:
                times.append(elapsed * 1000)
            if running.answer(raw).status != 200:
                raise RuntimeError(f"{contender.name}: a warm call failed: {raw[:500]!r}")
        assert_equal(running.answer(raw), model.expected, contender.name)
        return Round(
            cold_ms=start.wall_ms,
            p50_ms=percentile(times, 0.5),
            p99_ms=percentile(times, 0.99),
            requests_per_s=1000 * len(times) / sum(times),
            peak_rss_mb=running.usage().peak_rss_mb,
        )


def measure(bench: Bench, rounds: int) -> dict[str, dict[str, list[Round]]]:
    """Rounds by model and contender. A peer that does not run is moved to `left_out`, with what it said."""
    found: dict[str, dict[str, list[Round]]] = {model: {} for model in bench.models}
    for number in range(rounds + 1):
        for name, model in bench.models.items():
            active = [one for one in bench.contenders if one.name not in bench.left_out]
            for contender in [active[(number + step) % len(active)] for step in range(len(active))]:
                try:
                    one = measure_once(bench, contender, model)
                except RuntimeError as fault:
                    if contender.name == "predict":
                        raise
                    bench.left_out[contender.name] = str(fault)
                    print(f"left out: {contender.name}: {fault}")
                    continue
                if number:
                    found[name].setdefault(contender.name, []).append(one)
    return found


def targets(bench: Bench, results: dict[str, dict[str, dict[str, Spread]]]) -> list[Target]:
    """No peer is better in any column: ratios of medians, of requests a second the other way round."""
    found = []
    for model, by_contender in results.items():
        if "predict" not in by_contender:
            continue
        own = by_contender["predict"]
        others = [one for one in by_contender if one != "predict"]
        for column in COLUMNS:
            is_rate = column == "requests_per_s"
            ratios = {}
            for other in others:
                theirs = by_contender[other][column].median
                ratios[other] = theirs / own[column].median if is_rate else own[column].median / theirs
            if ratios:
                best = max(ratios, key=lambda one: ratios[one])
                name = f"{model}: {column} against the best peer"
                found.append(Target(name, 1.0, ratios[best], best))
    return found


def main() -> None:
    options = figures.arguments(__doc__ or "", ("predict", *EMULATED, *SERVERS), rounds=ROUNDS)
    with open_bench(options.only, options.models, is_built=not options.source) as bench:
        found = measure(bench, options.rounds)
        results = {
            model: {
                name: {column: spread([getattr(one, column) for one in rounds]) for column in COLUMNS}
                for name, rounds in by_contender.items()
            }
            for model, by_contender in found.items()
        }
        for model, by_contender in results.items():
            rows = [[name, *of.values()] for name, of in by_contender.items()]
            title = f"{model}: median (min to max) of {options.rounds} rounds"
            figures.print_table(title, ["contender", *COLUMNS], rows)
        for name, reason in bench.left_out.items():
            print(f"  left out: {name}: {reason.splitlines()[0]}")
        document = {"peers": results, "rounds": options.rounds}
        figures.finish("peers", bench.header, document, targets(bench, results), options.json_file)


if __name__ == "__main__":
    main()
