"""The loop of a process that trains when it is told to: one JSON line in, one out. Needs the standard library only.

In: {"seed": 1, "batch": 32, "epochs": 2}. Out: {"seconds", "cpu_seconds", "accuracy", "parameters"} and what else a
contender has to say. The times are of the last epoch: the first warms up.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

MARK = "answer: "


class Clock:
    """Wall time, and processor time of all threads, since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._cpu}


def serve(train: Callable[..., dict[str, Any]]) -> None:
    """Answer every line of stdin by `train(**line)`; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(MARK + json.dumps(train(**json.loads(line))) + "\n")
        answers.flush()
