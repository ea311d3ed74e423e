"""The bytes of a request, under a cap for each media type; nothing is decoded or parsed before its size is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from lehr.http.gateway import JSON, Request
from lehr.http.problems import Problem

MAX_BODY_BYTES = 1 << 20
# A function may be sent 6 MB, base64 makes 4 of 3: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_BINARY_BYTES = 4 << 20
_base64 = msgspec.json.Decoder(bytes)


def read_body(request: Request, limits: Mapping[str, int]) -> tuple[str, bytes]:
    """Media type and bytes of a body; `limits` says which types are taken, and how many bytes of each.

    A body without a type is of the first one. Raises Problem: 415 for another type, 413 beyond its limit,
    400 for what is no base64 or empty.
    """
    kind = _media_type(request.headers, limits)
    limit = limits[kind]
    body = request.event.get("body") or ""
    is_encoded = request.event.get("isBase64Encoded", False)
    if len(body) > (limit * 4 // 3 + 4 if is_encoded else limit):
        raise _too_large(limit)
    raw = decode_base64(body) if is_encoded else _encode(body)
    if raw is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "body", "The body could not be decoded.")
    if len(raw) > limit:
        raise _too_large(limit)
    if not raw:
        raise Problem(HTTPStatus.BAD_REQUEST, "body", "The body is empty.")
    return kind, raw


def decode_base64(text: str) -> bytes | None:
    """The bytes of standard base64, or None for what is not.

    By msgspec, which reads bytes in JSON from base64 as strictly as binascii does, in less than half of the time.
    """
    if "\\" in text:  # would be an escape
        return None
    try:
        return _base64.decode(f'"{text}"')
    except ValueError:  # also msgspec's, and that of a lone surrogate
        return None


def _encode(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None


def _too_large(limit: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"The body may have {limit} bytes at most.")


def _media_type(headers: Mapping[str, str], limits: Mapping[str, int]) -> str:
    first = next(iter(limits))
    given = headers.get("content-type", first)
    if "content-encoding" in headers and headers["content-encoding"].strip().lower() not in {"", "identity"}:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content-encoding",
            "The body must not be compressed.",
            headers={"Accept-Encoding": "identity"},
        )
    if given in limits:
        return given
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE)
    is_utf8 = charset is None or charset[1].lower() in {"utf-8", "utf8", "us-ascii"}
    if kind not in limits or not is_utf8:
        taken = ", ".join(limits)
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            f"The body must be one of {taken}{', in UTF-8' if JSON in limits else ''}.",
            headers={"Accept": taken},
        )
    return kind
