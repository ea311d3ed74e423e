"""A table whose replies get lost on the way: the write is there, and its writer does not know.

A single write is atomic, as DynamoDB promises and moto under threads does not.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

_LATE_S = 0.05


class LostReplyError(ConnectionError):
    """Raised where the SDK has given up: the state machine calls the function again."""


class FaultyTable:
    """Moves of an alias lose their reply with the probability `share`; `landed` counts how, by kind.

    Half of the writers try again by themselves, as the SDK does, and find their condition broken; the others get an
    error, after a while in which somebody else may move the alias.
    """

    def __init__(self, table: Any, share: float, seed: int) -> None:
        self._table, self._share, self._random = table, share, random.Random(seed)
        self._lock = threading.Lock()
        self.landed: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def put_item(self, **arguments: Any) -> Any:
        with self._lock:
            answer = self._table.put_item(**arguments)
            is_lost = arguments["Item"]["sk"] == "alias" and self._random.random() < self._share
            is_retried = self._random.random() < 0.5
            late_s = self._random.random() * _LATE_S
            if is_lost:
                self.landed["retried by the SDK" if is_retried else "given up"] += 1
        if not is_lost:
            return answer
        time.sleep(late_s)
        if not is_retried:
            raise LostReplyError("the connection was closed")
        with self._lock:
            return self._table.put_item(**arguments)


class UnconditionalTable:
    """A table that writes without looking; everybody has read before anybody writes."""

    def __init__(self, table: Any, racers: int) -> None:
        self._table, self._lock = table, threading.Lock()
        self._everybody, self._local = threading.Barrier(racers), threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def put_item(self, *, ConditionExpression: str = "", **arguments: Any) -> Any:
        if not getattr(self._local, "has_waited", False):
            self._local.has_waited = True
            self._everybody.wait(timeout=30)
        arguments.pop("ExpressionAttributeValues", None)
        with self._lock:
            return self._table.put_item(**arguments)
