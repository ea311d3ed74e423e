"""What the units have left, read many at a time: a seal of hundreds of units waits for S3 more than it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
# As many connections as boto3 keeps.
READ_AT_ONCE = 10


def read_all(read: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`read` of every item, in their order. Raises what the first of them raises."""
    with ThreadPoolExecutor(READ_AT_ONCE) as threads:
        return list(threads.map(read, items))
