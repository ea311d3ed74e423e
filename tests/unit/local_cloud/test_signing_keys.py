"""Keys that sign: after a restart of the local cloud they are the ones that have signed."""

from __future__ import annotations

from moto.kms.utils import ECDSAPrivateKey

from lehr_local.kept_state import _reduce_signing_key, _revive_signing_key


def test_a_key_that_was_kept_verifies_what_it_has_signed() -> None:
    key = ECDSAPrivateKey("ECC_NIST_P256")
    signature = key.sign(b"message", "ECDSA_SHA_256")
    kept = _reduce_signing_key(key)
    assert all(isinstance(value, str | list) for value in kept.values())
    made = object.__new__(ECDSAPrivateKey)
    _revive_signing_key(made, kept)
    assert made.verify(b"message", signature, "ECDSA_SHA_256")
    assert not ECDSAPrivateKey("ECC_NIST_P256").verify(b"message", signature, "ECDSA_SHA_256")
