"""What a contract library costs a cold start: import, one decode, one encode, in fresh processes.

Run: python benchmarks/contract_libraries.py   (needs `pip install pydantic`, which the environment of `make setup` has)
Interleaved rounds, medians; the last line is one JSON document.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys

ROUNDS = 15
DOCUMENT = {"project": "mnist", "champion": "0123456789abcdef", "generation": 7, "weights": list(range(200))}

BARE = "import json; value = json.loads(raw); json.dumps(value)"
MSGSPEC = """
import msgspec
class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    project: str; champion: str; generation: int; weights: list[int]
value = msgspec.json.decode(raw, type=Alias); msgspec.json.encode(value)
"""
PYDANTIC = """
from pydantic import BaseModel, ConfigDict
class Alias(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    project: str; champion: str; generation: int; weights: list[int]
value = Alias.model_validate_json(raw); value.model_dump_json()
"""
VARIANTS = {"json (no types)": BARE, "msgspec": MSGSPEC, "pydantic": PYDANTIC}


def milliseconds(code: str) -> float:
    """Time from the first import to the encoded answer, measured inside a fresh process."""
    script = f"import time; start = time.perf_counter(); raw = {json.dumps(DOCUMENT)!r}\n{code}\n"
    script += "print((time.perf_counter() - start) * 1e3)"
    return float(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    )


def main() -> None:
    samples: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(ROUNDS):
        for name, code in VARIANTS.items():
            samples[name].append(milliseconds(code))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    for name, median in medians.items():
        print(f"{name:16} {median:7.1f} ms   (min {min(samples[name]):.1f}, max {max(samples[name]):.1f})")
    print(json.dumps({"rounds": ROUNDS, "python": platform.python_version(), "median_ms": medians}))


if __name__ == "__main__":
    main()
