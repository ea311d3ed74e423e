"""Signing in KMS as AWS does it: over the message itself, or over a digest that the caller has made.

moto signs the base64 text that a message travels in, whatever `MessageType` says: what it signs it verifies, but nobody
else does, with the public key. https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

from __future__ import annotations

import base64
import functools
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.exceptions import ValidationException
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey

MAX_MESSAGE_BYTES = 4096


class _Message(bytes):
    """A message with its type, on its way through moto to the key."""

    is_digest = False


def install() -> None:
    """Have moto sign and verify so, in this process."""
    if not hasattr(KmsResponse._get_param, "lehr"):
        KmsResponse._get_param = _decoding(KmsResponse._get_param)
        ECDSAPrivateKey.sign = _sign
        ECDSAPrivateKey.verify = _verify


def _decoding(get_param: Any) -> Any:
    @functools.wraps(get_param)
    def decoded(self: Any, name: str, *given: Any, **named: Any) -> Any:
        value = get_param(self, name, *given, **named)
        if name != "Message" or not isinstance(value, str) or self._get_action() not in ("Sign", "Verify"):
            return value
        message = _Message(base64.b64decode(value))
        message.is_digest = get_param(self, "MessageType") == "DIGEST"
        if len(message) > MAX_MESSAGE_BYTES:
            raise ValidationException(f"Member must have length less than or equal to {MAX_MESSAGE_BYTES}")
        return message

    decoded.lehr = True  # type: ignore[attr-defined]
    return decoded


def _algorithm(key: Any, message: bytes, signing_algorithm: str) -> ec.ECDSA:
    if signing_algorithm not in key.valid_signing_algorithms:
        raise ValidationException(
            f"The key signs with {key.valid_signing_algorithms}, not {signing_algorithm}."
        )
    hashed = key._ECDSAPrivateKey__hash_algorithm(signing_algorithm)
    return ec.ECDSA(utils.Prehashed(hashed) if getattr(message, "is_digest", False) else hashed)


def _sign(key: Any, message: bytes, signing_algorithm: str) -> bytes:
    signature: bytes = key.private_key.sign(message, _algorithm(key, message, signing_algorithm))
    return signature


def _verify(key: Any, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
    try:
        key.private_key.public_key().verify(signature, message, _algorithm(key, message, signing_algorithm))
    except InvalidSignature:
        return False
    return True
