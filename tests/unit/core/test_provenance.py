"""The signature of a package: a DSSE envelope around an in-toto statement, as others read them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from lehr.contracts.package import ModelPackage, PackagedFile
from lehr.contracts.provenance import Envelope, Statement
from lehr.errors import ModelPackageError
from lehr.provenance import MAX_SIGNED_BYTES, check_provenance, is_signed_as, sign, signed_bytes
from tests.signing import LocalKey, statement_of

GOLDEN = Path(__file__).parent / "golden" / "statement.json"
PACKAGE = ModelPackage(project="mnist", files={"model.onnx": PackagedFile(sha256="a" * 64, bytes=1)})


def test_the_encoding_is_that_of_dsses_own_example() -> None:
    """protocol.md, "Test Vectors"."""
    encoded = signed_bytes("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_statement_has_the_names_that_in_toto_gives_its_fields() -> None:
    statement = statement_of(PACKAGE)
    assert json.loads(statement.to_json()) == json.loads(GOLDEN.read_text())
    assert Statement.from_json(GOLDEN.read_bytes()) == statement


def test_an_envelope_can_be_checked_with_nothing_but_json_base64_and_the_public_key() -> None:
    key = LocalKey()
    envelope = json.loads(sign(statement_of(PACKAGE), key))
    kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"])
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    assert key.verify(message, base64.b64decode(envelope["signatures"][0]["sig"]))
    assert json.loads(payload)["subject"][0]["digest"]["sha256"] == PACKAGE.sha256()


def test_what_was_signed_is_given_back() -> None:
    key, statement = LocalKey(), statement_of(PACKAGE)
    assert check_provenance(sign(statement, key), PACKAGE, PACKAGE.sha256(), key) == statement


def test_a_second_signature_of_a_statement_is_of_the_same_and_of_other_bytes() -> None:
    key, statement = LocalKey(), statement_of(PACKAGE)
    first, second = sign(statement, key), sign(statement, key)
    assert first != second
    assert is_signed_as(statement, first)
    assert is_signed_as(statement, second)
    assert not is_signed_as(statement, b"{}")


@pytest.mark.parametrize("count", [0, 2])
def test_an_envelope_has_one_signature(count: int) -> None:
    key = LocalKey()
    envelope = Envelope.from_json(sign(statement_of(PACKAGE), key))
    changed = msgspec.structs.replace(envelope, signatures=envelope.signatures * count)
    with pytest.raises(ModelPackageError, match="not as a signer writes it"):
        check_provenance(changed.to_json(), PACKAGE, PACKAGE.sha256(), key)


def test_base64_that_decodes_to_the_same_is_another_envelope() -> None:
    key = LocalKey()
    raw = sign(statement_of(PACKAGE), key)
    spaced = raw.replace(b'","signatures"', b'", "signatures"')
    assert spaced != raw
    assert Envelope.from_json(spaced) == Envelope.from_json(raw)
    with pytest.raises(ModelPackageError, match="not as a signer writes it"):
        check_provenance(spaced, PACKAGE, PACKAGE.sha256(), key)


def test_what_kms_would_not_sign_is_refused_before_it_is_asked() -> None:
    statement = statement_of(PACKAGE)
    long = msgspec.structs.replace(
        statement, predicate=msgspec.structs.replace(statement.predicate, image="i" * MAX_SIGNED_BYTES)
    )
    with pytest.raises(ModelPackageError, match="over 4096"):
        sign(long, LocalKey())
