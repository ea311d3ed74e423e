"""Writes lines to CloudWatch Logs of the local cloud, as the services do on AWS, without a network call."""

from __future__ import annotations

import threading
import time
from typing import Any

_LOCK = threading.Lock()


class LogStream:
    """One stream of one group; both are made on first use, and again if somebody deleted them."""

    def __init__(self, account_id: str, region: str, group: str, stream: str) -> None:
        self._account_id = account_id
        self._region = region
        self.group = group
        self.stream = stream

    def write(self, line: str) -> None:
        from moto.logs.models import logs_backends

        backend: Any = logs_backends[self._account_id][self._region]
        # An empty message is refused on AWS; moto's streams are lists without a lock of their own.
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        with _LOCK:
            backend.ensure_log_group(self.group)
            backend.ensure_log_stream(self.group, self.stream)
            backend.put_log_events(self.group, self.stream, [event])
