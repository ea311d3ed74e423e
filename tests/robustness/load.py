"""Load on processes of the function: one client for each, all answers checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from types import TracebackType
from typing import Any

from benchmarks.rig.contenders import Running
from benchmarks.rig.events import Answer
from lehr_local.http_api import MalformedResponse


@dataclass(frozen=True)
class Sample:
    """One request: when it was sent (time.monotonic), how long it took, the answer, and what is wrong with it."""

    at: float
    elapsed_ms: float
    answer: Answer | None
    fault: str | None


class Load:
    """Asks each process by a thread of its own, `rate` times a second each, or as fast as it answers if None.

    A request that is late is sent at once, and those that came due meanwhile after it: no failure hides in a pause.
    """

    def __init__(
        self,
        processes: Sequence[Running],
        event: dict[str, Any],
        fault_of: Callable[[Answer], str | None],
        *,
        rate: float | None = None,
    ) -> None:
        self._event, self._fault_of, self._rate = event, fault_of, rate
        self._stop = threading.Event()
        self._samples: list[list[Sample]] = [[] for _ in processes]
        self._threads = [
            threading.Thread(target=self._ask, args=pair, daemon=True)
            for pair in zip(processes, self._samples, strict=True)
        ]

    @property
    def samples(self) -> list[Sample]:
        return sorted((one for found in self._samples for one in found[:]), key=lambda one: one.at)

    @property
    def by_process(self) -> list[list[Sample]]:
        """The samples of each process, in the order in which it was asked."""
        return [found[:] for found in self._samples]

    @property
    def faults(self) -> list[str]:
        return [one.fault for one in self.samples if one.fault]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def _ask(self, process: Running, samples: list[Sample]) -> None:
        prepared, begin, number = process.prepare(self._event), time.monotonic(), 0
        while not self._stop.is_set():
            if self._rate:
                self._stop.wait(max(0.0, begin + number / self._rate - time.monotonic()))
            number += 1
            sent = time.monotonic()
            answer, wrong = None, None
            try:
                raw = process.send(prepared)
                elapsed = time.monotonic() - sent
                answer = process.answer(raw)
                wrong = self._fault_of(answer)
            except (OSError, HTTPException, RuntimeError, ValueError, MalformedResponse) as fault:
                elapsed, wrong = time.monotonic() - sent, f"{type(fault).__name__}: {fault}"
            samples.append(Sample(sent, elapsed * 1000, answer, wrong))
            if wrong and not process.is_alive():
                return
