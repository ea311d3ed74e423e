"""What the endpoint answers when it does not answer: problem documents (RFC 9457).

A document says where, what was expected and what was found, and never repeats what a client sent:
only types, lengths and positions.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import Response

from lehr.errors import NoChampionError, UnknownProjectError

CONTENT_TYPE = "application/problem+json"
METHODS = {r"/predict/[^/]+": "POST", r"/models/[^/]+": "GET", r"/health": "GET"}
_TITLES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request body too large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Request does not fit the model",
}


class Problem(Exception):
    """Raised for a request that gets no prediction; `kind` ends its type URN, `status` is the HTTP status."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **members: str,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.document: dict[str, Any] = {
            "type": f"urn:lehr:problem:{kind}",
            "title": _TITLES.get(status, status.phrase),
            "status": status.value,
            "detail": detail,
            **members,
        }

    def to_response(self) -> Response[str]:
        """As the resolver's response."""
        return Response(
            status_code=self.status.value,
            content_type=CONTENT_TYPE,
            body=msgspec.json.encode(self.document).decode(),
            headers=dict(self.headers),
        )

    def to_answer(self) -> dict[str, Any]:
        """As API Gateway's payload 2.0, for where there is no resolver."""
        return {
            "statusCode": self.status.value,
            "headers": {"Content-Type": CONTENT_TYPE, **self.headers},
            "body": msgspec.json.encode(self.document).decode(),
            "isBase64Encoded": False,
        }


def misfit(field: str, detail: str, *, expected: str, got: str) -> Problem:
    """The commonest problem: a field that does not fit the model's signature."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "input", detail, field=field, expected=expected, got=got)


def as_problem(fault: Exception) -> Problem:
    """What each error means to a client; the project's name is only repeated once it is known to be one."""
    if isinstance(fault, Problem):
        return fault
    if isinstance(fault, NoChampionError):
        project = str(fault)
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "no-champion",
            f"{project} has no champion yet. Train one: lehr train {project} --data FOLDER",
        )
    if isinstance(fault, UnknownProjectError):
        return Problem(HTTPStatus.NOT_FOUND, "unknown-project", "No project of that name was pushed.")
    raise fault


def no_route(method: str, path: str) -> Problem:
    """405 with Allow for a path that exists under another method, 404 for any other."""
    for pattern, allowed in METHODS.items():
        if re.fullmatch(pattern, path) and method.upper() != allowed:
            return Problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method",
                f"This path takes {allowed} only.",
                headers={"Allow": allowed},
            )
    return Problem(
        HTTPStatus.NOT_FOUND,
        "unknown-route",
        "There are POST /predict/{project}, GET /models/{project} and GET /health.",
    )


def internal_error(request_id: str) -> Problem:
    """For what was not foreseen: the id finds the stack in the log, and nothing else is said."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "The request failed for a reason of our own; the log has it under this id.",
        request_id=request_id,
    )
