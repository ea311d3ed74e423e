"""Signature Version 4 on the standard library: what the endpoint signs its few requests with.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. The tests hold it
equal, byte for byte, to botocore's signer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

import msgspec

ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair, with the session token that a role's has."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(access_key={self.access_key!r})"


def sign(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """The headers to send: those given, which must have `host`, and those of the signature. All of them are signed.

    `path` is percent-encoded already, with a query only if its parameters are so too and in order; `at` is in UTC.
    S3 wants the body's digest as a header too.
    """
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    sent = {name.lower(): value for name, value in headers.items()} | {"x-amz-date": stamp}
    if service == "s3":
        sent["x-amz-content-sha256"] = digest
    if credentials.token:
        sent["x-amz-security-token"] = credentials.token
    names = sorted(sent)
    listed = "".join(f"{name}:{' '.join(sent[name].split())}\n" for name in names)
    signed_names = ";".join(names)
    resource, _, query = path.partition("?")
    request = "\n".join([method, resource, query, listed, signed_names, digest])
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + credentials.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    sent["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed_names}, Signature={signature}"
    )
    return sent
