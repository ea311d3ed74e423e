"""Signing packages with a key in KMS, and asking it whether a signature is one of that key's.

The private key never leaves KMS, and neither does anybody need the public one: `Verify` does what the check asks, so no
layer carries a library of cryptography (docs/adr/0040-signed-packages.md).
https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

ALGORITHM = "ECDSA_SHA_256"
INVALID = "KMSInvalidSignatureException"


class KmsSigner:
    """Signs with the key `key_id`, an ARN of ECC_NIST_P256; `client` is boto3's."""

    def __init__(self, key_id: str, client: Any) -> None:
        self.key_id, self._client = key_id, client

    def sign(self, message: bytes) -> bytes:
        """The signature of at most 4,096 bytes, in DER."""
        answer = self._client.sign(
            KeyId=self.key_id, Message=message, MessageType="RAW", SigningAlgorithm=ALGORITHM
        )
        signature: bytes = answer["Signature"]
        return signature


class KmsVerifier:
    """Asks KMS about signatures of the key `key_id`."""

    def __init__(self, key_id: str, client: Any) -> None:
        self.key_id, self._client = key_id, client

    def verify(self, message: bytes, signature: bytes) -> bool:
        if not signature:
            return False  # which KMS takes for a request that lacks something
        try:
            answer = self._client.verify(
                KeyId=self.key_id,
                Message=message,
                MessageType="RAW",
                Signature=signature,
                SigningAlgorithm=ALGORITHM,
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] == INVALID:
                return False
            raise
        return answer["SignatureValid"] is True
