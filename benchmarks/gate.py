"""How often the gate promotes a model that is better, or worse, by a known difference; against one that only measures.

Run: python -m benchmarks.gate [--pairs 1000] [--json-file PATH]

Pairs of models are simulated with the difference that they truly have, tested on so many rows, and decided by the
gate's own code: under its defaults, and under `evidence = "measured"`, which promotes on any gain. Classifications are
right on 90 % of the rows, and on a tenth of all rows one alone is right; regressions and detectors share four fifths
of what they err by, and there are half as many pairs of them, or a fifth. Of equals a gate should promote no more
than its level, 5 %: the limit is that, and three standard deviations of so many pairs. Then the time that a resampled
shard takes, and that of the resampled mAP of 5,000 images, which have no target. The last line is one JSON document.
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
from benchmarks.rig.detectors import detectors
from benchmarks.rig.figures import Target, spread
from lehr.contracts.comparison import ComparedReport, Comparison
from lehr.contracts.evaluation import PairedCounts
from lehr.contracts.gate_tables import Gate
from lehr.gate_rules import against_champion
from lehr.significance import mcnemar
from lehr_runtime.bootstrap import compare, resample, row_ids
from lehr_runtime.detection_bootstrap import compare_maps, mean_average_precisions

PAIRS = 1000
ROWS = (500, 2000, 10_000)
ACCURACY_GAINS = (-0.02, -0.01, 0.0, 0.005, 0.01, 0.02, 0.04)
RMSE_RATIOS = (1.02, 1.0, 0.98, 0.95, 0.9)
# Of detectors: test images, and by how many of the ten IoUs the candidate's boxes are better.
IMAGES = (100, 300)
BOX_GAINS = (-0.2, 0.0, 0.2, 0.4, 0.8)
# The mAP that models truly have is that on so many images.
TRUE_IMAGES = 50_000
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


def detected(random: np.random.Generator, images: int, gain: float) -> Pair:
    candidate, champion = detectors(random, images, gain)
    ids = row_ids(f"{random.integers(2**60):064x}", images)
    own, other = (
        mean_average_precisions(one, np.ones((1, images), np.uint8)) for one in (candidate, champion)
    )
    return compare_maps(ids, candidate, champion, "mAP"), float(own[0]), float(other[0])


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


def true_difference(random: np.random.Generator, gain: float) -> float:
    """Of the mAPs; 0 of equals, which is not to be estimated."""
    if not gain:
        return 0.0
    taken = np.ones((1, TRUE_IMAGES), np.uint8)
    own, other = (mean_average_precisions(one, taken)[0] for one in detectors(random, TRUE_IMAGES, gain))
    return float(own - other)


def time_maps(random: np.random.Generator) -> float:
    """Seconds of a comparison of two models on a test of ordinary size."""
    candidate, champion = detectors(random, 5000, 0.0, labels=10)
    begin = perf_counter()
    compare_maps(row_ids("0" * 64, 5000), candidate, champion, "mAP")
    return perf_counter() - begin


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
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {"accuracy": {}, "rmse": {}, "map": {}}
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
    fewer = max(1, options.pairs // 5)
    differences = {gain: true_difference(random, gain) for gain in BOX_GAINS}
    for images in IMAGES:
        results["map"][str(images)] = {
            f"{differences[gain]:+.3f}": shares(
                partial(detected, random, images, gain), fewer, is_error=False
            )
            for gain in BOX_GAINS
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
    resampled = time_maps(random)
    print(f"2,000 resampled mAPs of two models, 5,000 images, 20 boxes each, 10 labels: {resampled:.1f} s")
    equals = max(found["+0"]["significant"] for found in results["accuracy"].values())
    errors = results["rmse"]["1000"]["x 1"]["significant"]
    boxes = max(found[f"{differences[0.0]:+.3f}"]["significant"] for found in results["map"].values())
    goals = [
        Target("equal classifications promoted, %, the worst of all", limit(options.pairs), equals),
        Target("equal regressions promoted, %", limit(few), errors),
        Target("equal detectors promoted, %, the worse of both", limit(fewer), boxes),
    ]
    document = {
        "promoted_percent": results,
        "pairs": options.pairs,
        "resample_s": spread(seconds),
        "resample_maps_s": round(resampled, 2),
    }
    figures.finish("gate", figures.machine(), document, goals, options.json_file)


if __name__ == "__main__":
    main()
