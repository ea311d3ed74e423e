"""Writes lines to CloudWatch Logs of the local cloud, as the services do on AWS, without a network call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from lehr_local.authority import AccessDeniedError
from lehr_local.settings import LocalSettings

_LOCK = threading.Lock()

# Raises AccessDeniedError for a group and a stream that must not be written.
Permit = Callable[[str, str], None]


def log_permit(settings: LocalSettings, role_arn: str, *actions: str) -> Permit:
    """The permit of a role; without `actions` those that Lambda needs where the group exists."""

    def demand(group: str, stream: str) -> None:
        arn = f"arn:aws:logs:{settings.region}:{settings.account_id}:log-group:{group}:log-stream:"
        for action in actions or ("CreateLogStream", "PutLogEvents"):
            is_of_stream = action in ("CreateLogStream", "PutLogEvents")
            settings.authority.demand(role_arn, f"logs:{action}", arn + (stream if is_of_stream else ""))

    return demand


class LogStream:
    """One stream of one group; both are made on first use, and again if somebody deleted them.

    What `permit` refuses is not written, and nobody is told: so it is on AWS.
    """

    def __init__(
        self, account_id: str, region: str, group: str, stream: str, permit: Permit | None = None
    ) -> None:
        self._account_id = account_id
        self._region = region
        self.group = group
        self.stream = stream
        self._permit = permit
        self._is_permitted: bool | None = None

    def write(self, line: str) -> None:
        from moto.logs.models import logs_backends

        if not self._may_write():
            return
        backend: Any = logs_backends[self._account_id][self._region]
        # An empty message is refused on AWS; moto's streams are lists without a lock of their own.
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        with _LOCK:
            backend.ensure_log_group(self.group)
            backend.ensure_log_stream(self.group, self.stream)
            backend.put_log_events(self.group, self.stream, [event])

    def _may_write(self) -> bool:
        if self._is_permitted is None:
            try:
                if self._permit is not None:
                    self._permit(self.group, self.stream)
                self._is_permitted = True
            except AccessDeniedError:
                self._is_permitted = False
        return self._is_permitted
