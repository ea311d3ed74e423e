"""The endpoint's HTTP without a function around it: which route a request finds, and what a refusal looks like."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from lehr.errors import NoChampionError, UnknownProjectError
from lehr.http.gateway import Answer, Request, accepted_answer, json_answer, text_answer
from lehr.http.problems import Problem, as_problem, internal_error
from lehr.http.routes import Route, RouteTable


def answer_with(name: str) -> Any:
    def respond(request: Request, services: list[str]) -> Answer:
        services.append(name)
        return json_answer({"name": name, **request.variables})

    return respond


def route(method: str, path: str) -> Route[list[str]]:
    return Route(method=method, path=path, summary=path, respond=answer_with(f"{method} {path}"), gives={})


TABLE = RouteTable(
    [
        route("GET", "/"),
        route("GET", "/models"),
        route("GET", "/models/{project}"),
        route("POST", "/models/{project}"),
        route("GET", "/models/{project}/versions/{version}"),
    ],
    paths="There are others.",
)


def asked(method: str, path: str, **more: Any) -> Request:
    return Request({"requestContext": {"http": {"method": method}}, "rawPath": path, **more})


@pytest.mark.parametrize(
    ("method", "path", "found", "variables"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/models", "/models", {}),
        ("GET", "/models/a%2Fb", "/models/{project}", {"project": "a%2Fb"}),
        ("POST", "/models/x", "/models/{project}", {"project": "x"}),
        (
            "GET",
            "/models/x/versions/7",
            "/models/{project}/versions/{version}",
            {"project": "x", "version": "7"},
        ),
    ],
)
def test_a_request_finds_its_route_and_its_variables(
    method: str, path: str, found: str, variables: dict[str, str]
) -> None:
    for _ in range(2):  # the second time it is remembered
        request = asked(method, path)
        services: list[str] = []
        answer = TABLE.find(request).respond(request, services)
        assert services == [f"{method} {found}"]
        assert json.loads(answer["body"]) == {"name": f"{method} {found}", **variables}


@pytest.mark.parametrize(
    "path", ["", "/nowhere", "/models/", "/models/x/", "/models//versions/7", "/models/x/y/7"]
)
def test_an_unknown_path_is_told_which_there_are(path: str) -> None:
    with pytest.raises(Problem, match=r"There are others\.") as caught:
        TABLE.find(asked("GET", path))
    assert caught.value.status == 404


def test_a_path_under_another_method_says_which_it_takes() -> None:
    with pytest.raises(Problem) as caught:
        TABLE.find(asked("DELETE", "/models/x"))
    answer = caught.value.to_answer()
    assert (answer["statusCode"], answer["headers"]["Allow"]) == (405, "GET, POST")


def test_two_variables_of_one_request_are_not_those_of_the_next() -> None:
    first, second = asked("GET", "/models/a"), asked("GET", "/models/a")
    TABLE.find(first)
    TABLE.find(second)
    first.variables["project"] = "changed"
    assert second.variables == {"project": "a"}


def test_a_request_has_its_headers_and_the_last_of_a_repeated_parameter() -> None:
    request = asked("GET", "/", headers={"x-name": "v"}, rawQueryString="a=1&a=2&b=%20")
    assert (request.headers, request.query()) == ({"x-name": "v"}, {"a": "2", "b": " "})
    assert (asked("GET", "/").headers, asked("GET", "/").query()) == ({}, {})


def test_answers_differ_in_status_and_headers_only() -> None:
    assert accepted_answer({"a": 1}) == {**json_answer({"a": 1}), "statusCode": 202}
    assert text_answer("x", "text/css", Cache_Control="no-store")["headers"] == {
        "Content-Type": "text/css",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Problem(HTTPStatus.NOT_FOUND, "x", "d"), 404, "x"),
        (NoChampionError("mnist"), 503, "no-champion"),
        (UnknownProjectError("<script>"), 404, "unknown-project"),
    ],
)
def test_an_error_that_a_client_is_told_of_is_a_problem(fault: Exception, status: int, kind: str) -> None:
    answer = as_problem(fault).to_answer()
    assert answer["statusCode"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(answer["body"])["type"] == f"urn:lehr:problem:{kind}"
    assert "script" not in answer["body"]


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        as_problem(ZeroDivisionError())
    assert internal_error("request-1").document["request_id"] == "request-1"


def test_a_type_of_problem_has_one_title_whatever_the_version_of_python_calls_its_status() -> None:
    titles = {
        kind: Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, "d").document["title"]
        for kind in ("input", "batch-input")
    }
    assert titles == {"input": "Request does not fit the model", "batch-input": "Request names no batch"}
