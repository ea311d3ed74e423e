"""What a function of the endpoint answers when it does not answer: problem documents (RFC 9457).

A document says where, what was expected and what was found, and never repeats what a client sent:
only types, lengths and positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from lehr.errors import NoChampionError, UnknownProjectError
from lehr.http.gateway import Answer

CONTENT_TYPE = "application/problem+json"
# What RFC 9457 calls the summary of a type; a type without one has the name of its status.
_TITLES = {
    "size": "Request body too large",
    "input": "Request does not fit the model",
    "batch-input": "Request names no batch",
}


class Problem(Exception):
    """Raised for a request that is refused; `kind` ends its type URN, `status` is the HTTP status."""

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
            "title": _TITLES.get(kind, status.phrase),
            "status": status.value,
            "detail": detail,
            **members,
        }

    def to_answer(self, content_type: str = CONTENT_TYPE, document: dict[str, Any] | None = None) -> Answer:
        """As a problem document, or as another that says the same."""
        return {
            "statusCode": self.status.value,
            "headers": {"Content-Type": content_type, **self.headers},
            "body": msgspec.json.encode(document or self.document).decode(),
            "isBase64Encoded": False,
        }


def as_problem(fault: Exception) -> Problem:
    """What each error means to a client; the project's name is only repeated once it is known to be one.

    Raises `fault` itself if it is none that a client is told of.
    """
    if isinstance(fault, Problem):
        return fault
    if isinstance(fault, NoChampionError):
        project = str(fault)
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "no-champion",
            f"{project} has no champion yet. Train one: lehr train {project} --data FOLDER",
            headers={"Retry-After": "60"},  # a training takes minutes, and the promotion is seen at once
        )
    if isinstance(fault, UnknownProjectError):
        return Problem(HTTPStatus.NOT_FOUND, "unknown-project", "No project of that name was pushed.")
    raise fault


def wrong_method(allowed: Iterable[str]) -> Problem:
    """405 with Allow, for a path that exists under another method."""
    methods = ", ".join(sorted(allowed))
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method",
        f"This path takes {methods} only.",
        headers={"Allow": methods},
    )


def no_route(detail: str) -> Problem:
    """404 for a path that is none; `detail` says which there are."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-route", detail)


def internal_error(request_id: str) -> Problem:
    """For what was not foreseen: the id finds the stack in the log, and nothing else is said."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "The request failed for a reason of our own; the log has it under this id.",
        request_id=request_id,
    )
