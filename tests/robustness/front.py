"""The function as a WSGI application: each request becomes an event as API Gateway would make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from benchmarks.rig.events import Answer, to_event

Start = Callable[[str, list[tuple[str, str]]], object]


class Process(Protocol):
    """What answers an event of API Gateway."""

    def ask(self, event: dict[str, Any]) -> Answer: ...


class Front:
    """Hands requests to one process of a function; `asked` counts them, `statuses` what they were answered.

    With `document` it gives that instead of the function's own /openapi.json.
    """

    def __init__(self, process: Process, document: bytes | None = None) -> None:
        self._process, self._document = process, document
        self.asked = 0
        self.statuses: dict[int, int] = {}

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        if self._document and environ["PATH_INFO"] == "/openapi.json":
            start_response("200 OK", [("content-type", "application/json")])
            return [self._document]
        self.asked += 1
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name not in ("HTTP_HOST", "HTTP_CONTENT_LENGTH")
        }
        if kind := environ.get("CONTENT_TYPE"):
            headers["content-type"] = kind
        target = environ.get("REQUEST_URI") or quote(environ["PATH_INFO"], encoding="latin-1")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = self._process.ask(to_event(environ["REQUEST_METHOD"], target, headers, body))
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [*answer.headers.items(), ("content-length", str(len(answer.body)))],
        )
        return [answer.body]
