"""The rules of an API Gateway HTTP API, without a socket: routes, events of format 2.0, responses.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from lehr_local.api_gateway import HttpApi, HttpRoute

_TEXT = re.compile(r"text/.*|application/(json|javascript|xml|.*\+json|.*\+xml)")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request as it was received; `target` is the undecoded path with its query."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"

    @property
    def raw_path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def raw_query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        return ",".join(value for key, value in self.headers if key.lower() == name.lower())


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def message(status: int, text: str) -> HttpResponse:
    """An answer of API Gateway's own, as opposed to one of the function."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return HttpResponse(status, [("content-type", "application/json")], body)


class MalformedResponse(Exception):
    """Raised when a function's result is no HTTP response; the client gets a 500."""


def match_route(
    routes: Iterable[HttpRoute], method: str, path: str
) -> tuple[HttpRoute, dict[str, str]] | None:
    """The most specific route for a decoded path, with its path parameters.

    Per segment a literal beats a variable, which beats a greedy one; then a method beats ANY; `$default` is last.
    """
    best: tuple[tuple[Any, ...], HttpRoute, dict[str, str]] | None = None
    for route in routes:
        if route.route_key == "$default":
            found: tuple[tuple[int, ...], dict[str, str]] | None = ((9,), {})
            method_rank = 1
        else:
            wanted, _, pattern = route.route_key.partition(" ")
            if wanted not in (method, "ANY"):
                continue
            found = _match_path(pattern, path)
            method_rank = int(wanted == "ANY")
        if found is None:
            continue
        rank = (found[0], method_rank)
        if best is None or rank < best[0]:
            best = (rank, route, found[1])
    return (best[1], best[2]) if best else None


def _match_path(pattern: str, path: str) -> tuple[tuple[int, ...], dict[str, str]] | None:
    """(rank of each segment, parameters), or None."""
    have = path.split("/")
    ranks: list[int] = []
    parameters: dict[str, str] = {}
    wanted = pattern.split("/")
    for position, segment in enumerate(wanted):
        if segment.startswith("{") and segment.endswith("+}"):
            rest = "/".join(have[position:])
            if not rest:
                return None
            return (*ranks, 2), {**parameters, segment[1:-2]: rest}
        if position >= len(have):
            return None
        if segment.startswith("{") and segment.endswith("}"):
            if not have[position]:
                return None
            ranks.append(1)
            parameters[segment[1:-1]] = have[position]
        elif segment == have[position]:
            ranks.append(0)
        else:
            return None
    return (tuple(ranks), parameters) if len(wanted) == len(have) else None


def route_path(api: HttpApi, raw_path: str) -> str | None:
    """The decoded path below the stage; None when the request names another stage."""
    path = unquote(raw_path)
    if api.stage == "$default":
        return path
    prefix = f"/{api.stage}"
    return path[len(prefix) :] or "/" if path == prefix or path.startswith(f"{prefix}/") else None


def build_event(
    request: HttpRequest,
    api: HttpApi,
    route: HttpRoute,
    *,
    path_parameters: Mapping[str, str],
    account_id: str,
    request_id: str,
    now: datetime,
    caller: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The event of format 2.0 for a request; `caller` is who signed it, on routes with IAM."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key != "cookie":
            headers[key] = f"{headers[key]},{value}" if key in headers else value
    host = request.header("host")
    domain = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
    path = unquote(request.raw_path)
    context: dict[str, Any] = {
        "accountId": account_id,
        "apiId": api.api_id,
        "domainName": domain,
        "domainPrefix": domain.split(".")[0],
        "http": {
            "method": request.method,
            "path": path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.header("user-agent"),
        },
        "requestId": request_id,
        "routeKey": route.route_key,
        "stage": api.stage,
        "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now.timestamp() * 1000),
    }
    if caller is not None:
        context["authorizer"] = {"iam": dict(caller)}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.route_key,
        "rawPath": path,
        "rawQueryString": request.raw_query,
        "headers": headers,
        "requestContext": context,
    }
    cookies = [part for part in re.split(r"; *", request.header("cookie")) if part]
    if cookies:
        event["cookies"] = cookies
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.raw_query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    if query:
        event["queryStringParameters"] = query
    if path_parameters:
        event["pathParameters"] = dict(path_parameters)
    text = _body_text(request)
    if request.body:
        event["body"] = base64.b64encode(request.body).decode() if text is None else text
    event["isBase64Encoded"] = bool(request.body) and text is None
    return event


def _body_text(request: HttpRequest) -> str | None:
    """The body as text, or None for what goes into the event as base64."""
    content_type = request.header("content-type").partition(";")[0].strip().lower()
    if request.header("content-encoding") or not _TEXT.fullmatch(content_type):
        return None
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return None


def parse_result(payload: bytes) -> HttpResponse:
    """The response that a function's result means. Raises MalformedResponse."""
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise MalformedResponse(f"the result is not JSON: {error}") from error
    if not isinstance(result, dict) or "statusCode" not in result:
        # Without a status the whole result is the body.
        body = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
        return HttpResponse(200, [("content-type", "application/json")], body.encode())
    headers = _headers(result.get("headers"))
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    cookies = result.get("cookies", [])
    if not isinstance(cookies, list):
        raise MalformedResponse("cookies is not a list")
    headers += [("set-cookie", _header_value("cookies", cookie)) for cookie in cookies]
    return HttpResponse(_status(result["statusCode"]), headers, _body(result))


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        status = 0
    if isinstance(value, bool) or not 100 <= status <= 599:
        raise MalformedResponse(f"statusCode is {value!r}")
    return status


def _headers(headers: Any) -> list[tuple[str, str]]:
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise MalformedResponse("headers is not an object")
    # The connection belongs to the server.
    own = {"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade"}
    return [
        (name.lower(), _header_value(name, value))
        for name, value in headers.items()
        if name.lower() not in own
    ]


def _header_value(name: str, value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (bool, int, float)) else value
    if not isinstance(text, str) or not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", text):
        raise MalformedResponse(f"the header {name!r} is no header")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise MalformedResponse(f"the header {name!r} is not Latin-1") from error
    return text


def _body(result: Mapping[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponse("body is not a string")
    if not result.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedResponse("body is not base64") from error
