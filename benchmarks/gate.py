"""How often the gate promotes a model that is better, or worse, by a known difference; against one that only measures.

Run: python -m benchmarks.gate [--pairs 1000] [--json-file PATH]

Pairs of models are simulated with the difference that they truly have, tested on so many rows, and decided by the
gate's own code: under its defaults, and under `evidence = "measured"`, which promotes on any gain. Classifications are
right on 90 % of the rows, and on a tenth of all rows one alone is right; regressions share four fifths of what they err
by, and there are half as many pairs of them. Of equals a gate should promote no more than its level, 5 %: the limit
is that, and three standard deviations of so many pairs. Then the time that a resampled shard takes, which has no
target. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from math import sqrt
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.rig import figures
from benchmarks.rig.figures import Target, spread
from lehr.contracts.comparison import ComparedReport, Comparison
from lehr.contracts.evaluation import PairedCounts
from lehr.contracts.gate_tables import Gate
from lehr.gate_rules import against_champion
from lehr.significance import mcnemar
from lehr_runtime.bootstrap import compare, resample, row_ids

PAIRS = 1000
ROWS = (500, 2000, 10_000)
ACCURACY_GAINS = (-0.02, -0.01, 0.0, 0.005, 0.01, 0.02, 0.04)
RMSE_RATIOS = (1.02, 1.0, 0.98, 0.95, 0.9)
POLICIES = {"significant": Gate(), "measured": Gate(evidence="measured")}
_SEED = 20261127

# Of one pair: the comparison, the candidate's figure, the champion's.
Pair = tuple[Comparison, float, float]


def classified(random: np.random.Generator, rows: int, gain: float) -> Pair:
    shares = [0.85, 0.05 + gain / 2, 0.05 - gain / 2, 0.05]
    both, one, other, neither = random.multinomial(rows, shares).tolist()
    paired = PairedCounts(both=both, only_candidate=one, only_champion=other, neither=neither)
    return mcnemar(paired), (both + one) / rows, (both + other) / rows


def regressed(random: np.random.Generator, rows: int, ratio: float) -> Pair:
    shared, *own = random.normal(size=(3, rows))
    candidate, champion = (np.square(0.8 * shared + 0.6 * noise) for noise in own)
    candidate = candidate * ratio**2
    ids = row_ids(f"{random.integers(2**60):064x}", rows)
    comparison = compare(resample(ids, candidate, champion), "RMSE", np.sqrt, is_error=True)
    return comparison, float(np.sqrt(candidate.mean())), float(np.sqrt(champion.mean()))


def is_promoted(pair: Pair, policy: Gate, *, is_error: bool) -> bool:
    comparison, own, other = pair
    report = ComparedReport(
        project="p",
        run="r",
        dataset_version="d",
        candidate_version="new",
        champion_version="old",
        comparison=comparison,
    )
    rules = against_champion(report, policy, "measure", own, other, is_error=is_error)
    return all(rule.passed for rule in rules)


def shares(draw: Callable[[], Pair], pairs: int, *, is_error: bool) -> dict[str, float]:
    """Of simulated pairs the share that each policy promotes, in percent."""
    drawn = [draw() for _ in range(pairs)]
    return {
        name: round(100 * sum(is_promoted(one, policy, is_error=is_error) for one in drawn) / pairs, 2)
        for name, policy in POLICIES.items()
    }


def limit(pairs: int) -> float:
    """Percent: the level, and three standard deviations of a share of so many pairs."""
    level = Gate().significance
    return round(100 * (level + 3 * sqrt(level * (1 - level) / pairs)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help=f"simulated pairs of each difference ({PAIRS})"
    )
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    random = np.random.default_rng(_SEED)
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {"accuracy": {}, "rmse": {}}
    for rows in ROWS:
        results["accuracy"][str(rows)] = {
            f"{gain:+g}": shares(partial(classified, random, rows, gain), options.pairs, is_error=False)
            for gain in ACCURACY_GAINS
        }
    few = max(1, options.pairs // 2)
    results["rmse"]["1000"] = {
        f"x {ratio:g}": shares(partial(regressed, random, 1000, ratio), few, is_error=True)
        for ratio in RMSE_RATIOS
    }
    for measure, by_rows in results.items():
        for count, found in by_rows.items():
            table = [[name, *(f"{found[gain][name]:g} %" for gain in found)] for name in POLICIES]
            figures.print_table(
                f"{measure}, {count} test rows: promoted, by true difference", ["evidence", *found], table
            )
    values = np.square(random.normal(size=(2, 20_000)))
    seconds = []
    for _ in range(7):
        begin = perf_counter()
        resample(row_ids("0" * 64, 20_000), *values)
        seconds.append(perf_counter() - begin)
    print(f"\n1,000 resamples of 20,000 rows: {spread(seconds)} s")
    equals = max(found["+0"]["significant"] for found in results["accuracy"].values())
    errors = results["rmse"]["1000"]["x 1"]["significant"]
    goals = [
        Target("equal classifications promoted, %, the worst of all", limit(options.pairs), equals),
        Target("equal regressions promoted, %", limit(few), errors),
    ]
    document = {"promoted_percent": results, "pairs": options.pairs, "resample_s": spread(seconds)}
    figures.finish("gate", figures.machine(), document, goals, options.json_file)


if __name__ == "__main__":
    main()
