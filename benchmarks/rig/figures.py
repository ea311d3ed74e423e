"""Medians with their spread, targets as ratios, a table for people and one JSON document for machines."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, with the least and the greatest of them."""

    median: float
    min: float
    max: float
    n: int

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.min)} to {_short(self.max)})"


@dataclass(frozen=True)
class Target:
    """A figure that must not exceed its limit; `value` is None where it was not measured, and `note` says why."""

    name: str
    limit: float
    value: float | None
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.value is not None and self.value <= self.limit


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [[str(column) for column in columns], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def print_targets(targets: Sequence[Target]) -> None:
    rows = []
    for target in targets:
        value = "not measured" if target.value is None else _short(target.value)
        note = f" ({target.note})" if target.note else ""
        rows.append(
            [target.name + note, value, f"<= {target.limit:g}", "met" if target.is_met else "NOT met"]
        )
    print_table("targets", ["target", "value", "limit", ""], rows)


def finish(
    benchmark: str,
    header: Mapping[str, Any],
    results: Mapping[str, Any],
    targets: Sequence[Target],
    json_file: Path | None,
) -> None:
    """Print the targets, and as the last line of all the document."""
    print_targets(targets)
    document = {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m-%d"),
        **header,
        "load_average_at_end": round(os.getloadavg()[0], 2),
        "results": results,
        "targets": [
            {"name": t.name, "value": t.value, "limit": t.limit, "met": t.is_met, "note": t.note}
            for t in targets
        ],
    }
    if json_file:
        json_file.write_text(json.dumps(document, indent=2, default=asdict) + "\n")
    print()
    print(json.dumps(document, default=asdict))


def arguments(description: str, choices: Sequence[str], *, rounds: int) -> argparse.Namespace:
    """The options that every benchmark of the endpoint has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help=f"measured rounds after one that is not ({rounds})")
    parser.add_argument("--quick", action="store_true", help="3 rounds unless --rounds says otherwise")
    parser.add_argument(
        "--only", nargs="+", choices=choices, default=list(choices), metavar="NAME", help=", ".join(choices)
    )
    parser.add_argument("--models", nargs="+", choices=["mnist", "resnet18"], default=["mnist", "resnet18"])
    parser.add_argument("--source", action="store_true", help="the source tree, not what sam build makes")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else rounds)
    return options


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "machine": f"{os.cpu_count()} cores, {model}, {platform.machine()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
