"""What can be asked of a running local cloud that AWS has no call for, at the port of its API.

`POST /_lehr/<action>` with a JSON object. The header keeps pages in a browser out: they cannot set it on a request to
another origin without being asked first, and nobody answers that question here.
"""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lehr_local.errors import LocalCloudError

logger = logging.getLogger(__name__)

PREFIX = "/_lehr/"
HEADER = "X-Lehr-Control"
_BODY_LIMIT = 1 << 16

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Action = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ControlRequests:
    """A WSGI application that answers its own requests and hands on all others."""

    def __init__(self, application: Application, actions: Mapping[str, Action]) -> None:
        self._application = application
        self._actions = actions

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if not path.startswith(PREFIX):
            return self._application(environ, start_response)
        status, answer = self._answer(environ, path.removeprefix(PREFIX))
        body = json.dumps(answer).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    def _answer(self, environ: dict[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
        action = self._actions.get(name)
        is_ours = f"HTTP_{HEADER.upper().replace('-', '_')}" in environ
        if action is None or not is_ours or environ["REQUEST_METHOD"] != "POST":
            return "404 Not Found", {"error": f"There is no action {name}."}
        try:
            length = min(int(environ.get("CONTENT_LENGTH") or 0), _BODY_LIMIT)
            return "200 OK", action(json.loads(environ["wsgi.input"].read(length)))
        except LocalCloudError as error:
            return "409 Conflict", {"error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            return "400 Bad Request", {"error": f"The request cannot be read: {error!r}"}


def ask(port: int, name: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask the cloud at `port` of this machine. Raises LocalCloudError with its sentence if it declines."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(
            "POST",
            PREFIX + name,
            json.dumps(parameters),
            {HEADER: "1", "Host": "localhost", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        answer: Mapping[str, Any] = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LocalCloudError(f"The local cloud at port {port} does not answer: {error}.") from error
    finally:
        connection.close()
    if response.status != 200:
        raise LocalCloudError(str(answer.get("error", response.reason)))
    return answer
