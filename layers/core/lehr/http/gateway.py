"""API Gateway's payload 2.0: an event read as far as a route needs it, and the answer that goes back.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

JSON = "application/json"
HTML = "text/html; charset=utf-8"
JAVASCRIPT, CSS = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
Answer = dict[str, Any]


class Request:
    """One request. `variables` are what the route's path has in braces; header names come in lower case.

    `key` decides who answers while there are two, and is the same for one request wherever it is looked at.
    """

    __slots__ = ("event", "headers", "key", "method", "path", "predicted", "variables")

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event
        self.method: str = event["requestContext"]["http"]["method"]
        self.path: str = event["rawPath"]
        self.key: str | None = event["requestContext"].get("requestId")
        self.headers: Mapping[str, str] = event.get("headers") or {}
        self.variables: dict[str, str] = {}
        # Rows and milliseconds, once there is a prediction: what the metrics want to know.
        self.predicted: tuple[int, float] | None = None

    def query(self) -> dict[str, str]:
        """The query string's parameters; of one that is given twice the last counts."""
        raw = self.event.get("rawQueryString") or ""
        return dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=20)) if raw else {}


def json_answer(value: object) -> Answer:
    """200 with a JSON body. float32 probabilities go as the double they are, so nothing is lost."""
    return text_answer(msgspec.json.encode(value).decode(), JSON)


def accepted_answer(value: object) -> Answer:
    """202 with a JSON body."""
    return {**json_answer(value), "statusCode": 202}


def text_answer(body: str, content_type: str, **headers: str) -> Answer:
    """200 with text; `headers` are written with `_` for `-`."""
    answered = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}
    for name, value in headers.items():
        answered[name.replace("_", "-")] = value
    return {"statusCode": 200, "headers": answered, "body": body, "isBase64Encoded": False}


def binary_answer(body: bytes, headers: dict[str, str]) -> Answer:
    """200 with bytes, which API Gateway decodes again."""
    return {
        "statusCode": 200,
        "headers": headers,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
