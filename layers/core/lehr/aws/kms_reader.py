"""What the endpoint asks KMS, without boto3: whether a signature is one of the stack's key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from lehr.aws.credentials import CredentialSource
from lehr.aws.endpoints import configured_url, service_host
from lehr.aws.signed_http import ServiceError, SignedHttp

_MAX_ANSWER_BYTES = 1 << 16


class SignatureReader:
    """As `lehr.aws.kms.KmsVerifier`, by one signed request. A service that refuses to tell raises ServiceError."""

    def __init__(self, key_id: str, http: SignedHttp) -> None:
        self.key_id, self._http = key_id, http

    def verify(self, message: bytes, signature: bytes) -> bool:
        if not signature:
            return False
        body = msgspec.json.encode(
            {
                "KeyId": self.key_id,
                "Message": message,
                "MessageType": "RAW",
                "Signature": signature,
                "SigningAlgorithm": "ECDSA_SHA_256",
            }
        )
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "TrentService.Verify"}
        try:
            answer = self._http.send("POST", "/", headers, body, max_bytes=_MAX_ANSWER_BYTES)
        except ServiceError as fault:
            if fault.code == "KMSInvalidSignatureException":
                return False
            raise
        return msgspec.json.decode(answer.body, type=dict[str, Any]).get("SignatureValid") is True

    def close(self) -> None:
        """Drop idle connections and credentials, as after a restore."""
        self._http.close()


def open_signature_reader(key_id: str, environ: Mapping[str, str] = os.environ) -> SignatureReader:
    """Of a key by its ARN, which names the region."""
    region = key_id.split(":")[3]
    url = configured_url("kms", environ) or f"https://{service_host('kms', region)}"
    return SignatureReader(key_id, SignedHttp("kms", url, region, CredentialSource(environ)))
