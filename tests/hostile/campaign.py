"""Many hostile drops in a process of its own, whose memory is bounded: `python -m tests.hostile.campaign 300`.

The last line of what it prints is one JSON document: outcomes by format, the most memory that a drop of each has taken,
and every violation with the number that draws it again (`--only FORMAT --number N`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.hostile.crafted import crafted
from tests.hostile.drops import take
from tests.hostile.mutations import mutate
from tests.hostile.plants import PLANTS
from tests.hostile.seeds import Seed, seeds

# Half of what PrepareShard has: beyond what the process held before its first drop.
MAX_GROWTH_BYTES = 1 << 30
# Of addresses, which threads and allocators reserve more of than they use.
_ADDRESSES = 3 << 30
_MAX_TOLD = 20


def drops(
    count: int, only: str = "", number: int = -1
) -> Iterator[tuple[str, int, str, Mapping[str, bytes]]]:
    """(format, number, recipe, files), `count` of them over all formats in turn; each is drawn by its number alone."""
    chosen = [seed for seed in seeds() if not only or seed.name == only]
    for place in range(count) if number < 0 else [number]:
        seed = chosen[place % len(chosen)]
        yield seed.name, place, *_drawn(seed, place)


def _drawn(seed: Seed, number: int) -> tuple[str, Mapping[str, bytes]]:
    draw = random.Random(zlib.crc32(f"{seed.name} {number}".encode()))
    other = draw.choice(seeds())
    foreign = draw.choice(list(other.files.values()))
    recipe = seed.recipe
    if draw.random() < 0.3:  # nothing may be set aside
        recipe = recipe.replace("max_refused_fraction = 0.3", "max_refused_fraction = 0.0")
    return recipe, mutate(seed.files, foreign, draw)


class Campaign:
    """Counts what becomes of drops."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.outcomes: dict[str, Counter[str]] = {}
        self.peaks: dict[str, int] = {}
        self.violations: list[dict[str, Any]] = []
        self._begins_at = 0

    def take(self, name: str, number: int | str, recipe: str, files: Mapping[str, bytes]) -> None:
        counts = self.outcomes.setdefault(name, Counter())
        try:
            outcome = take(recipe, files, self._folder)
        except Exception as fault:
            counts["violations"] += 1
            last = traceback.extract_tb(fault.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            told = f"{type(fault).__name__} in {where}: {str(fault)[:500]}"
            self.violations.append({"format": name, "number": number, "what": told})
            return
        counts[outcome.kind] += 1
        counts["set aside"] += outcome.set_aside

    def begin(self) -> None:
        """Count memory from here."""
        Path("/proc/self/clear_refs").write_text("5")  # proc(5)
        self._begins_at = _resident("VmRSS")

    def grown(self, name: str) -> None:
        """Note the most memory since `begin` under `name`."""
        peak = _resident("VmHWM") - self._begins_at
        self.peaks[name] = max(self.peaks.get(name, 0), peak)
        if peak > MAX_GROWTH_BYTES:
            self.violations.append({"format": name, "number": -1, "what": f"took {peak >> 20} MiB"})


def _resident(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) << 10


def _bound_memory() -> None:
    most = _resident("VmSize") + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drops", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("--number", type=int, default=-1)
    parser.add_argument("--heavy", action="store_true", help="with bombs of their full size")
    parser.add_argument("--plant", choices=PLANTS, help="a fault to find")
    asked = parser.parse_args(arguments)
    began = time.perf_counter()
    if asked.plant:
        PLANTS[asked.plant]()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        campaign = Campaign(Path(folder))
        for seed in seeds():  # as it stands; also, what is imported late is there then
            if asked.only in ("", seed.name):
                campaign.take(f"sound {seed.name}", 0, seed.recipe, seed.files)
        _bound_memory()
        if asked.number < 0:  # a single one is drawn again
            for name, what, recipe, files in crafted(is_heavy=asked.heavy, only=asked.only):
                campaign.begin()
                campaign.take(name, what, recipe, files)
                campaign.grown(f"{name}: {what}")
            campaign.begin()
        for name, number, recipe, files in drops(asked.drops, asked.only, asked.number):
            campaign.take(name, number, recipe, files)
        campaign.grown("mutations")
    refused_whole = [
        name
        for name, counts in campaign.outcomes.items()
        if name.startswith("sound ") and not counts["accepted"]
    ]
    for name in refused_whole:
        campaign.violations.append({"format": name, "number": -1, "what": "a sound drop is not accepted"})
    summary = {
        "outcomes": {n: dict(c) for n, c in campaign.outcomes.items() if not n.startswith("sound ")},
        "peak_bytes": dict(sorted(campaign.peaks.items(), key=lambda item: -item[1])[:12]),
        "violations": campaign.violations[:_MAX_TOLD],
        "violation_count": len(campaign.violations),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(summary))
    return 1 if campaign.violations else 0


if __name__ == "__main__":
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    sys.exit(main(sys.argv[1:]))
