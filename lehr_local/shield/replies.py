"""Errors as the services of AWS send them, each in its own protocol."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

_QUERY = ("iam", "sts", "sns", "cloudformation", "autoscaling", "email")
_REST_JSON = ("lambda", "batch", "apigateway")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `status` with its reason, as WSGI wants it."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def denial_code(service: str) -> str:
    """The error code with which a service refuses what is not permitted."""
    if service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if service in ("s3", "sqs", *_QUERY) else "AccessDeniedException"


def denial(service: str, method: str, text: str) -> Reply:
    """The answer to a call that is not permitted."""
    is_forbidden = service in ("s3", "sqs", "monitoring", *_QUERY, *_REST_JSON)
    return error(service, method, denial_code(service), text, 403 if is_forbidden else 400)


def error(service: str, method: str, code: str, text: str, status: int) -> Reply:
    """An error of any kind, in the protocol of the service."""
    request_id = str(uuid.uuid4())
    headers = [("x-amzn-RequestId", request_id), ("x-amz-request-id", request_id)]
    if service == "s3":
        body = _xml(f"<Error><Code>{code}</Code><Message>{escape(text)}</Message></Error>")
        kind = "application/xml"
    elif service in _QUERY:
        inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
        body = _xml(f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>")
        kind = "text/xml"
    else:
        body = json.dumps({"__type": code, "message": text}).encode()
        kind = "application/json" if service in _REST_JSON else "application/x-amz-json-1.0"
        headers.append(("x-amzn-ErrorType", code))
    headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
    return Reply(f"{status} {code}", tuple(headers), b"" if method == "HEAD" else body)


def _xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
