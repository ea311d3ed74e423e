"""Verify AWS Signature Version 4 of a received request, for routes that only IAM may open.

botocore's own signer computes the signature anew over what arrived; nothing of the algorithm is repeated here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from lehr_local.http_api import HttpRequest

SERVICE = "execute-api"
MAX_SKEW = timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)"
    r"/aws4_request\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)


class SignatureRefused(Exception):
    """Raised when a request is not signed, or its signature does not hold; the text says why, for the log only."""


class _ReceivedRequest(SigV4Auth):  # type: ignore[misc]
    """A signer that signs exactly the headers which the client says it signed, and the body that came."""

    def __init__(self, secret: str, key_id: str, region: str, signed_headers: list[str]) -> None:
        super().__init__(Credentials(key_id, secret), SERVICE, region)
        self._signed_headers = signed_headers

    def headers_to_sign(self, request: Any) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name in self._signed_headers:
            for value in request.headers.get_all(name) or []:
                chosen[name] = value
        return chosen


def verify_signature(
    request: HttpRequest, *, key_id: str, secret: str, region: str, now: datetime | None = None
) -> str:
    """Check that `key_id` signed this request, not longer than five minutes ago; returns the key id.

    Raises SignatureRefused.
    """
    match = _AUTHORIZATION.fullmatch(request.header("authorization").strip())
    if match is None:
        raise SignatureRefused("the request has no AWS4-HMAC-SHA256 Authorization header")
    if match["key"] != key_id:
        raise SignatureRefused("the access key is unknown")
    if (match["region"], match["service"]) != (region, SERVICE):
        raise SignatureRefused(f"the scope is {match['region']}/{match['service']}")
    signed_headers = match["headers"].split(";")
    if "host" not in signed_headers:
        raise SignatureRefused("the host is not signed")
    timestamp = request.header("x-amz-date")
    if "x-amz-date" not in signed_headers or not timestamp.startswith(match["date"]):
        raise SignatureRefused("the date is not signed")
    _check_date(timestamp, now or datetime.now(UTC))
    checksum = request.header("x-amz-content-sha256")
    if checksum and checksum != hashlib.sha256(request.body).hexdigest():
        raise SignatureRefused("the body is not the one of x-amz-content-sha256")
    signer = _ReceivedRequest(secret, key_id, region, signed_headers)
    expected = _signature(signer, request, timestamp)
    if not hmac.compare_digest(expected, match["signature"]):
        raise SignatureRefused("the signature does not match")
    return key_id


def _check_date(timestamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureRefused(f"the date {timestamp} is no date") from error
    if abs(now - signed_at) > MAX_SKEW:
        raise SignatureRefused(f"the request was signed at {timestamp}")


def _signature(signer: _ReceivedRequest, request: HttpRequest, timestamp: str) -> str:
    received = AWSRequest(
        method=request.method, url=f"https://{request.header('host')}{request.target}", data=request.body
    )
    for name, value in request.headers:
        received.headers.add_header(name, value)
    received.context["timestamp"] = timestamp
    canonical = signer.canonical_request(received)
    return str(signer.signature(signer.string_to_sign(received, canonical), received))
