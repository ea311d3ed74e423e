"""The loop of a process that trains when it is told to: one JSON line in, one out. Needs the standard library only.

In: {"seed": 1, "batch": 32}. Out: {"seconds", "accuracy", "parameters"} and what else a contender has to say, where
`seconds` is the second of two epochs, from its first batch to the end of its last step: the first warms up.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

MARK = "answer: "


def serve(train: Callable[..., dict[str, Any]]) -> None:
    """Answer every line of stdin by `train(**line)`; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(MARK + json.dumps(train(**json.loads(line))) + "\n")
        answers.flush()
