"""The output of a training job on its way to CloudWatch Logs, and the metrics that are read from it.

A trainer that prints a line for every step must not wait for the log: lines are taken over at once and written
by a thread of their own.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

logger = logging.getLogger(__name__)

_FLUSH_INTERVAL_S = 0.1
# CloudWatch Logs takes no longer message.
_LINE_LIMIT = 256 * 1024


class TrainingLog:
    """Takes lines from any thread and hands them, in order, to `write`.

    `metric_definitions` are those of CreateTrainingJob: `{"Name": ..., "Regex": ...}`, where the first group is
    the value. Raises re.error for a regex that is none.
    """

    def __init__(
        self, write: Callable[[str], None], metric_definitions: Sequence[dict[str, str]] = ()
    ) -> None:
        self._write = write
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in metric_definitions]
        self._metrics: dict[str, tuple[float, float]] = {}
        self._lines: deque[tuple[float, str]] = deque()
        self._is_closed = threading.Event()
        self._writer = threading.Thread(target=self._run, name="training-log", daemon=True)
        self._writer.start()

    def add(self, line: str) -> None:
        """Take over one line; returns at once."""
        self._lines.append((time.time(), line[:_LINE_LIMIT]))

    def close(self) -> None:
        """Write what is left, and wait for it."""
        self._is_closed.set()
        self._writer.join()

    def final_metrics(self) -> list[dict[str, Any]]:
        """FinalMetricDataList: the last value of each metric that was seen; complete after `close`."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": moment}
            for name, (value, moment) in sorted(self._metrics.items())
        ]

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_closed.wait(_FLUSH_INTERVAL_S)
            while self._lines:
                moment, line = self._lines.popleft()
                self._read_metrics(moment, line)
                try:
                    self._write(line)
                except Exception:
                    logger.exception("a line of a training log was lost")

    def _read_metrics(self, moment: float, line: str) -> None:
        for name, pattern in self._patterns:
            for match in pattern.finditer(line):
                try:
                    self._metrics[name] = (float(match.group(1)), moment)
                except (ValueError, IndexError):
                    continue  # Not a number: SageMaker skips it too.
