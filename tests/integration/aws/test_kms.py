"""Signatures by KMS: what one adapter signs the other verifies, and so does whoever has the public key."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from moto.server import ThreadedMotoServer

from lehr.aws.kms import KmsSigner, KmsVerifier
from lehr.aws.kms_reader import SignatureReader, open_signature_reader
from lehr.aws.signed_http import ServiceError
from lehr_local import signing_keys
from tests.integration.predict.aws_stand_in import aws_stand_in

MESSAGE = b"DSSEv1 4 type 5 \x00\xff\x80ab"


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    signing_keys.install()
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        yield values
    server.stop()


@pytest.fixture(scope="module")
def key(environ: dict[str, str]) -> str:
    made = boto3.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def reader(key: str, environ: dict[str, str]) -> Iterator[SignatureReader]:
    opened = open_signature_reader(key, environ)
    yield opened
    opened.close()


def test_what_is_signed_is_verified_with_and_without_boto3(key: str, reader: SignatureReader) -> None:
    signature = KmsSigner(key, boto3.client("kms")).sign(MESSAGE)
    for verifier in (KmsVerifier(key, boto3.client("kms")), reader):
        assert verifier.key_id == key
        assert verifier.verify(MESSAGE, signature)
        assert not verifier.verify(MESSAGE + b"x", signature)
        assert not verifier.verify(MESSAGE, signature[:-1] + bytes([signature[-1] ^ 1]))
        assert not verifier.verify(MESSAGE, b"nonsense")
        assert not verifier.verify(MESSAGE, b"")


def test_the_public_key_alone_is_enough_to_verify(key: str) -> None:
    kms = boto3.client("kms")
    signature = KmsSigner(key, kms).sign(MESSAGE)
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, MESSAGE, ec.ECDSA(SHA256()))


def test_a_key_that_is_gone_is_no_invalid_signature(key: str, environ: dict[str, str]) -> None:
    gone = key[:-4] + "0000"
    with pytest.raises(ClientError):
        KmsVerifier(gone, boto3.client("kms")).verify(MESSAGE, b"signature")
    reader = open_signature_reader(gone, environ)
    try:
        with pytest.raises(ServiceError, match="NotFoundException"):
            reader.verify(MESSAGE, b"signature")
    finally:
        reader.close()


def test_aws_says_by_an_error_that_a_signature_is_not_one() -> None:
    """As AWS answers; moto says SignatureValid: false instead."""
    with aws_stand_in() as aws:
        aws.faults = [
            (400, b'{"__type":"KMSInvalidSignatureException"}'),
            (400, b'{"__type":"DisabledException"}'),
        ]
        reader = open_signature_reader("arn:aws:kms:eu-central-1:123456789012:key/k", aws.environment())
        try:
            assert not reader.verify(MESSAGE, b"signature")
            with pytest.raises(ServiceError, match="DisabledException"):
                reader.verify(MESSAGE, b"signature")
        finally:
            reader.close()
