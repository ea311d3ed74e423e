"""The sockets of the HTTPS front: HTTP/1.1 over TLS, one thread for each connection, with limits on all of it.

Python's `http.server` reads the requests. werkzeug's server is not used because it closes each connection after one
answer, and because it does the TLS handshake where connections are accepted: one client that connects and says
nothing would stop all.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from werkzeug.serving import DechunkedInput

from lehr_local.http_api import HttpRequest, HttpResponse, message

log = logging.getLogger(__name__)

# API Gateway's own limits for HTTP APIs.
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 10_240

# Ours: how long a client may be silent, how long it may take over a body, and how many are served at once.
SILENCE_S = 20.0
BODY_S = 60.0
MAX_CONNECTIONS = 128
# A client in the middle of a body reads no answer before the body was taken off its hands.
_MAX_DISCARDED_BYTES = 64 * 1024 * 1024

Respond = Callable[[HttpRequest], HttpResponse]


class _BadRequest(Exception):
    """Raised when a request is none, or is refused before anyone is asked; the connection ends."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


class _Handler(BaseHTTPRequestHandler):
    server: HttpsServer
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S
    # Buffered, so that an answer leaves in as few packets as it can.
    wbufsize = -1

    def setup(self) -> None:
        self.request.settimeout(SILENCE_S)
        self.request.do_handshake()
        super().setup()

    def _serve(self) -> None:
        try:
            request = HttpRequest(
                method=self.command,
                target=self._target(),
                headers=tuple(self.headers.items()),
                body=self._body(),
                source_ip=self.client_address[0],
                protocol=self.request_version,
            )
        except _BadRequest as error:
            self.close_connection = True
            self._send(error.response)
            return
        self._send(self.server.respond(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _target(self) -> str:
        size = len(self.requestline) + sum(len(name) + len(value) for name, value in self.headers.items())
        if size > MAX_HEADER_BYTES:
            raise _BadRequest(message(431, "Request Header Fields Too Large"))
        if not self.path.startswith("/"):
            raise _BadRequest(message(400, "Bad Request"))
        return self.path

    def _body(self) -> bytes:
        lengths = self.headers.get_all("content-length") or []
        coding = self.headers.get("transfer-encoding", "").strip().lower()
        # Two answers to "how long" are how one request is smuggled in another.
        if (coding and lengths) or len(lengths) > 1 or coding not in ("", "chunked"):
            raise _BadRequest(message(400, "Bad Request"))
        if coding:
            self._continue()
            return self._read(DechunkedInput(self.rfile), MAX_BODY_BYTES + 1)
        if not lengths:
            return b""
        if not lengths[0].isascii() or not lengths[0].isdigit():
            raise _BadRequest(message(400, "Bad Request"))
        length = int(lengths[0])
        if length > MAX_BODY_BYTES:
            if "100-continue" not in self.headers.get("expect", "").lower():
                self._discard(length)
            raise _BadRequest(message(413, "Request Entity Too Large"))
        self._continue()
        body = self._read(self.rfile, length)
        if len(body) < length:
            raise ConnectionError("the client left in the middle of a body")
        return body

    def _read(self, stream: Any, wanted: int) -> bytes:
        """Up to `wanted` bytes. A client may be slow, but not for ever."""
        deadline = time.monotonic() + BODY_S
        parts, left = [], wanted
        while left > 0:
            if time.monotonic() > deadline:
                raise _BadRequest(message(408, "Request Timeout"))
            part = (
                stream.read1(min(left, 65536)) if hasattr(stream, "read1") else stream.read(min(left, 65536))
            )
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if wanted > MAX_BODY_BYTES and left == 0:
            raise _BadRequest(message(413, "Request Entity Too Large"))
        return b"".join(parts)

    def _discard(self, length: int) -> None:
        deadline = time.monotonic() + BODY_S
        left = min(length, _MAX_DISCARDED_BYTES)
        while left > 0 and time.monotonic() < deadline and (part := self.rfile.read1(min(left, 65536))):
            left -= len(part)

    def handle_expect_100(self) -> bool:
        """Say nothing yet: a body that is too large is refused before it is sent."""
        return True

    def _continue(self) -> None:
        if "100-continue" in self.headers.get("expect", "").lower():
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
            self.wfile.flush()

    def _send(self, response: HttpResponse) -> None:
        self.send_response_only(response.status, _reason(response.status))
        self.send_header("date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, value)
        has_body = response.status >= 200 and response.status not in (204, 304)
        if has_body:
            self.send_header("content-length", str(len(response.body)))
        self.send_header("connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()
        log.debug("%s %s", self.requestline, response.status)

    def send_error(self, code: int, message_: str | None = None, explain: str | None = None) -> None:
        """What `http.server` refuses itself (a line that is too long, an unknown method), in the API's form."""
        self.close_connection = True
        # The request may have ended before it had a method.
        self.command = getattr(self, "command", None) or "GET"
        self.requestline = getattr(self, "requestline", "")
        self._send(message(int(code), _reason(int(code))))

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class HttpsServer(ThreadingMixIn, TCPServer):
    """Answers HTTPS requests with `respond` at a socket that listens, from threads."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, respond: Respond) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.respond = respond
        self._context = context
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = self.socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The handshake is the client's to wait for: its own thread does it.
        return (
            self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False),
            address,
        )

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(timeout=1.0):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left, or speaks no TLS, is no error of ours."""
        log.debug("the connection of %s ended", client_address, exc_info=True)
