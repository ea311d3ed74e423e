"""The processes of one deployed function: started on demand, reused, replaced when they die or change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lehr_local.emulator import FunctionProcess, InvocationResult

# What a new AWS account may run at once.
CONCURRENCY_LIMIT = 10
_IDLE_LIMIT_S = 600.0


class Throttled(Exception):
    """Raised when no process of the function became free in time."""


class FunctionPool:
    """Lends a process to one invocation at a time; past `limit` invocations wait for a free one."""

    def __init__(self, start: Callable[[], FunctionProcess], limit: int) -> None:
        self._start = start
        self._limit = limit
        self._condition = threading.Condition()
        self._idle: list[FunctionProcess] = []
        self._busy: set[FunctionProcess] = set()
        self._starting = 0
        self._is_retired = False

    def invoke(self, payload: bytes, *, wait_s: float | None, is_tail_wanted: bool) -> InvocationResult:
        """Run one invocation; raises Throttled if none of the processes is free within `wait_s`."""
        process = self._acquire(wait_s)
        try:
            return process.invoke(payload, is_tail_wanted=is_tail_wanted)
        finally:
            self._release(process)

    def retire(self) -> None:
        """End idle processes now, and each busy one after its invocation."""
        with self._condition:
            self._is_retired = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()

    def close(self) -> None:
        """End every process now."""
        self.retire()
        with self._condition:
            busy = list(self._busy)
        for process in busy:
            process.close()

    def _acquire(self, wait_s: float | None) -> FunctionProcess:
        with self._condition:
            if not self._condition.wait_for(self._has_room, timeout=wait_s):
                raise Throttled
            # The one used last is the warmest.
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    self._busy.add(process)
                    return process
                process.close()
            self._starting += 1
        try:
            process = self._start()
        except BaseException:
            with self._condition:
                self._starting -= 1
                self._condition.notify()
            raise
        with self._condition:
            self._starting -= 1
            self._busy.add(process)
        return process

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._busy) + self._starting < self._limit

    def _release(self, process: FunctionProcess) -> None:
        long_ago = time.monotonic() - _IDLE_LIMIT_S
        with self._condition:
            self._busy.discard(process)
            expired = [idle for idle in self._idle if idle.last_used < long_ago]
            self._idle = [idle for idle in self._idle if idle not in expired]
            if self._is_retired or not process.is_alive():
                expired.append(process)
            else:
                self._idle.append(process)
            self._condition.notify()
        for old in expired:
            old.close()
