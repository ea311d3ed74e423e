"""Signed requests to S3 and DynamoDB on http.client: no boto3, since importing it is most of a cold start.

Two things that Lambda does decide the shape. Between two requests the process is frozen, for seconds or for
hours: a connection that has been idle is not used again but opened anew, and a signature, which is valid for
minutes, is made for each attempt. And the endpoint must not hang: connecting, every read and the whole answer
have a limit, and there are two attempts.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from lehr.aws.credentials import CredentialSource
from lehr.aws.signature import sign

if TYPE_CHECKING:
    from lehr.ports import Sink

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 2.0
TOTAL_TIMEOUT_S = 20.0
ATTEMPTS = 2
MAX_IDLE_S = 5.0
_CHUNK_BYTES = 1 << 20
_MAX_FAULT_BYTES = 1 << 16
_TRANSIENT_STATUS = {429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    # Signed before a freeze and sent after it: the next attempt is signed anew, with the credentials of then.
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "RequestExpired",
    "RequestTimeTooSkewed",
}
# Compiled with the first refusal.
_XML_CODE = rb"<Code>([A-Za-z0-9.]{1,80})</Code>"
_JSON_CODE = rb'"__type"\s*:\s*"(?:[^"#]*#)?([A-Za-z0-9.]{1,80})"'


class ServiceError(Exception):
    """Raised when a service refuses a request, with its HTTP status and error code."""

    def __init__(self, service: str, status: int, code: str) -> None:
        super().__init__(f"{service} answered {status} {code}".rstrip())
        self.status, self.code = status, code


class Answer(msgspec.Struct, frozen=True):
    """A whole reply; `body` has at most as many bytes as were asked for."""

    status: int
    body: bytes


class _Idle(msgspec.Struct):
    connection: http.client.HTTPConnection
    since: float


class SignedHttp:
    """One host of one service. Any thread may send; each request has a connection to itself."""

    def __init__(
        self,
        service: str,
        url: str,
        region: str,
        credentials: CredentialSource,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        self._service, self._region, self._credentials = service, region, credentials
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._host_header = parts.netloc
        self._connect_timeout_s, self._read_timeout_s = connect_timeout_s, read_timeout_s
        self._total_timeout_s = total_timeout_s
        self._clock, self._sleep = clock, sleep
        self._idle: list[_Idle] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Drop every idle connection, and the credentials that were fetched."""
        self._credentials.forget()
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.connection.close()

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        max_bytes: int,
        into: Sink | None = None,
    ) -> Answer:
        """Send, and try once more what may pass: a broken connection, a time-out, throttling, a fault of the service.

        The body goes to `into`, if there is such a sink, and is not held then.

        Raises ServiceError for a status of 400 and above, OSError if there was no answer in time.
        """
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                return self._attempt(method, path, headers or {}, body, max_bytes, into)
            except ServiceError as fault:
                if is_last or not (fault.status in _TRANSIENT_STATUS or fault.code in _TRANSIENT_CODES):
                    raise
                self._credentials.forget()
            except (OSError, http.client.HTTPException) as fault:
                if is_last:
                    if isinstance(fault, OSError):
                        raise
                    raise ConnectionError(f"{self._service}: {type(fault).__name__}") from fault
            self._sleep(0.02 + 0.08 * os.urandom(1)[0] / 255)
        raise AssertionError("unreachable")

    def _attempt(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        max_bytes: int,
        into: Sink | None,
    ) -> Answer:
        deadline = self._clock() + self._total_timeout_s
        while True:
            connection, is_reused = self._take()
            try:
                response = self._exchange(connection, method, path, headers, body)
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                # The other side may have closed what it kept alive: that is no failure of the request.
                if not is_reused:
                    raise
        is_kept = False
        try:
            if response.status >= 400:
                raw = response.read(_MAX_FAULT_BYTES)
                is_kept = self._is_done(response)
                raise ServiceError(self._service, response.status, _code(raw))
            chunks: list[bytes] = []
            write: Callable[[bytes], object] = chunks.append
            if into:
                into.restart()
                write = into.write
            self._read(response, max_bytes, deadline, write)
            raw = b"".join(chunks)
            is_kept = self._is_done(response)
        finally:
            if is_kept:
                self._give_back(connection)
            else:
                connection.close()
        return Answer(response.status, raw)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> http.client.HTTPResponse:
        signed = sign(
            method,
            path,
            {"host": self._host_header, **headers},
            body,
            credentials=self._credentials.current(),
            region=self._region,
            service=self._service,
            at=datetime.now(UTC),
        )
        connection.request(method, path, body=body or None, headers=signed)
        return connection.getresponse()

    def _read(
        self,
        response: http.client.HTTPResponse,
        max_bytes: int,
        deadline: float,
        write: Callable[[bytes], object],
    ) -> None:
        """Write the body up to `max_bytes`. Raises IncompleteRead if it ends before its announced length."""
        left = max_bytes
        while left > 0:
            if self._clock() > deadline:
                raise TimeoutError(f"{self._service}: the answer took longer than {self._total_timeout_s} s")
            chunk = response.read(min(left, _CHUNK_BYTES))
            if not chunk:
                if response.length:
                    raise http.client.IncompleteRead(b"", response.length)
                break
            write(chunk)
            left -= len(chunk)

    @staticmethod
    def _is_done(response: http.client.HTTPResponse) -> bool:
        """Whether the whole answer was read, so that its connection can carry the next one."""
        if response.length == 0:
            response.read()  # nothing is left, but http.client waits to be told so
        return not response.will_close and response.isclosed()

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection and whether it was used before; one that has been idle for long is closed instead."""
        now = self._clock()
        with self._lock:
            idle, self._idle = self._idle, []
            fresh = [one for one in idle if now - one.since < MAX_IDLE_S]
            taken = fresh.pop() if fresh else None
            self._idle = fresh
        for one in idle:
            if one is not taken and one not in fresh:
                one.connection.close()
        if taken:
            return taken.connection, True
        return self._open(), False

    def _open(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._is_tls:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_timeout_s, context=_tls()
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout_s)
        try:
            connection.connect()
            connection.sock.settimeout(self._read_timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(_Idle(connection, self._clock()))


def _code(raw: bytes) -> str:
    """The error code of S3's XML or DynamoDB's JSON; empty if there is none, as in an answer to HEAD."""
    found = re.search(_XML_CODE, raw) or re.search(_JSON_CODE, raw)
    return found.group(1).decode() if found else ""


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes tens of milliseconds, so it is done once for all hosts."""
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
