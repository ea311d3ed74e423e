"""What the routes of batches answer when they refuse: problem documents (RFC 9457), as functions/predict has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import Response

from lehr.errors import NoChampionError, UnknownProjectError, UserError

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """Raised for a request that gets no batch; `kind` ends its type URN, `status` is the HTTP status."""

    def __init__(self, status: HTTPStatus, kind: str, detail: str, **members: str) -> None:
        super().__init__(detail)
        self.status = status
        self.document: dict[str, Any] = {
            "type": f"urn:lehr:problem:{kind}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
            **members,
        }

    def to_response(self) -> Response[str]:
        """As the resolver's response."""
        body = msgspec.json.encode(self.document).decode()
        return Response(status_code=self.status.value, content_type=CONTENT_TYPE, body=body)

    def to_answer(self) -> dict[str, Any]:
        """As API Gateway's payload 2.0, for where there is no resolver."""
        return {
            "statusCode": self.status.value,
            "headers": {"Content-Type": CONTENT_TYPE},
            "body": msgspec.json.encode(self.document).decode(),
            "isBase64Encoded": False,
        }


def as_problem(fault: Exception) -> Problem:
    """What each error means to a client; the project's name is only repeated once it is known to be one."""
    match fault:
        case Problem():
            return fault
        case NoChampionError():
            detail = f"{fault} has no champion yet. Train one: lehr train {fault} --data FOLDER"
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-champion", detail)
        case UnknownProjectError():
            return Problem(HTTPStatus.NOT_FOUND, "unknown-project", "No project of that name was pushed.")
        case UserError():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "batch-input", str(fault))
    raise fault


def unknown_batch() -> Problem:
    """For an id that names no batch; an upload's is one only after it was started."""
    return Problem(
        HTTPStatus.NOT_FOUND,
        "unknown-batch",
        'No batch of that id was started, or its results have expired. An upload is started with {"batch": id}; '
        "the answer has the batch's own id.",
    )


def internal_error(request_id: str) -> Problem:
    """For what was not foreseen: the id finds the stack in the log, and nothing else is said."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "The request failed for a reason of our own; the log has it under this id.",
        request_id=request_id,
    )
