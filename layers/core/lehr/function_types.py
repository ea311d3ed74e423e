"""A function as a machine to train on: named by its memory, as instance types name theirs (`lambda-3008mb`).

Its processor grows with its memory, so the name says what it can do, and what a second of it costs.
"""

from __future__ import annotations

import re

# What a new account may give a function, and what any may:
# docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
DEFAULT_MEMORY_MB = 3008
MAX_MEMORY_MB = 10_240
# Of /tmp, which holds data, checkpoints and model:
# docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html
STORAGE_MB = 10_240
# Storage beyond this is paid for.
FREE_STORAGE_MB = 512

_FUNCTION = re.compile(r"lambda-(\d+)mb")


def function_type(memory_mb: int) -> str:
    """
    >>> function_type(3008)
    'lambda-3008mb'
    """
    return f"lambda-{memory_mb}mb"


def memory_of(instance_type: str) -> int | None:
    """Memory in MB of a function, None for the name of an instance.

    >>> memory_of("lambda-3008mb"), memory_of("ml.m5.large")
    (3008, None)
    """
    found = _FUNCTION.fullmatch(instance_type)
    return int(found[1]) if found else None
