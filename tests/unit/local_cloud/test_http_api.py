"""The rules of HTTP APIs that need no socket to be checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lehr_local.api_gateway import HttpApi, HttpRoute
from lehr_local.http_api import (
    HttpRequest,
    MalformedResponse,
    build_event,
    match_route,
    parse_result,
    route_path,
)

NOW = datetime(2026, 11, 23, 15, 4, 5, 678000, tzinfo=UTC)


def route(key: str) -> HttpRoute:
    return HttpRoute(key, "NONE", "function", 30.0, "2.0")


def event_of(stage: str = "$default", **request: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"method": "GET", "target": "/", "headers": [("Host", "localhost:8443")]}
    return build_event(
        HttpRequest(**{**defaults, **request}),
        HttpApi("abc", stage, ()),
        route("GET /"),
        path_parameters={},
        account_id="123456789012",
        request_id="r-1",
        now=NOW,
    )


@pytest.mark.parametrize(
    ("method", "path", "expected", "parameters"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/2", "GET /pets/{proxy+}", {"proxy": "cat/2"}),
        ("POST", "/pets/dog/1", "ANY /{proxy+}", {"proxy": "pets/dog/1"}),
        ("GET", "/a/b", "ANY /{proxy+}", {"proxy": "a/b"}),
        ("GET", "/", "$default", {}),
        ("PUT", "/both", "PUT /both", {}),
        ("GET", "/both", "ANY /both", {}),
    ],
)
def test_the_most_specific_route_answers(
    method: str, path: str, expected: str, parameters: dict[str, str]
) -> None:
    routes = [
        route(key)
        for key in (
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "GET /pets/dog/1",
            "ANY /both",
            "PUT /both",
        )
    ]
    for order in (routes, routes[::-1]):
        found = match_route(order, method, path)
        assert found is not None
        assert (found[0].route_key, found[1]) == (expected, parameters)


def test_a_variable_is_one_segment_and_never_empty() -> None:
    assert match_route([route("GET /models/{name}")], "GET", "/models/a/b") is None
    assert match_route([route("GET /models/{name}")], "GET", "/models/") is None
    assert match_route([route("GET /models")], "GET", "/models/") is None


def test_a_stage_other_than_default_is_the_first_segment_of_the_path() -> None:
    api = HttpApi("abc", "prod", ())
    assert route_path(api, "/prod/predict") == "/predict"
    assert route_path(api, "/prod") == "/"
    assert route_path(api, "/production") is None
    assert route_path(HttpApi("abc", "$default", ()), "/a%20b") == "/a b"


def test_the_context_has_the_time_in_both_forms_and_the_host_without_its_port() -> None:
    context = event_of()["requestContext"]
    assert context["time"] == "23/Nov/2026:15:04:05 +0000"
    assert context["timeEpoch"] == 1795446245678
    assert context["domainName"] == "localhost"
    assert context["stage"] == "$default"


def test_duplicate_headers_and_queries_are_joined_with_commas() -> None:
    event = event_of(
        target="/?a=1&a=2", headers=[("Host", "h"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "c=1;d=2")]
    )
    assert event["headers"]["x-a"] == "1,2"
    assert event["queryStringParameters"] == {"a": "1,2"}
    assert event["cookies"] == ["c=1", "d=2"]


@pytest.mark.parametrize("missing", ["body", "cookies", "queryStringParameters", "pathParameters"])
def test_what_a_request_does_not_have_is_absent(missing: str) -> None:
    assert missing not in event_of()


@pytest.mark.parametrize(
    ("content_type", "is_text"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/csv", True),
        ("application/xml", True),
        ("image/png", False),
        ("application/octet-stream", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
def test_only_text_types_arrive_as_text(content_type: str, is_text: bool) -> None:
    event = event_of(method="POST", headers=[("content-type", content_type)], body=b"a=1")
    assert event["isBase64Encoded"] is not is_text
    assert event["body"] == ("a=1" if is_text else "YT0x")


def test_text_that_is_no_utf8_and_compressed_text_arrive_as_base64() -> None:
    assert event_of(headers=[("content-type", "text/plain")], body=b"\xff")["isBase64Encoded"]
    compressed = [("content-type", "application/json"), ("content-encoding", "gzip")]
    assert event_of(headers=compressed, body=b"{}")["isBase64Encoded"]


def test_a_response_without_a_content_type_is_plain_text() -> None:
    response = parse_result(b'{"statusCode": 404, "body": "no"}')
    assert (response.status, response.body) == (404, b"no")
    assert response.headers == [("content-type", "text/plain;charset=UTF-8")]


def test_the_function_does_not_decide_about_the_connection() -> None:
    response = parse_result(b'{"statusCode": 200, "headers": {"Content-Length": "5", "Connection": "close"}}')
    assert [name for name, _ in response.headers] == ["content-type"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'{"statusCode": true}',
        b'{"statusCode": 99}',
        b'{"statusCode": null}',
        b'{"statusCode": 200, "headers": []}',
        b'{"statusCode": 200, "headers": {"a b": "c"}}',
        b'{"statusCode": 200, "headers": {"a": {"b": 1}}}',
        b'{"statusCode": 200, "headers": {"a": "\\u2603"}}',
        b'{"statusCode": 200, "cookies": "a=1"}',
        b'{"statusCode": 200, "body": 1}',
    ],
)
def test_what_is_no_response_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedResponse):
        parse_result(payload)
