"""The private authority: trusted by strict clients, kept private, renewed in time."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from lehr_local.certificates import LIFETIME, ensure_certificate
from lehr_local.settings import LocalSettings


@pytest.fixture
def settings(tmp_path: Path) -> LocalSettings:
    return LocalSettings(state_dir=tmp_path / "state", port=1, https_port=2)


def handshake(settings: LocalSettings, hostname: str) -> str | None:
    """Version of a TLS handshake in memory, with a client as strict as Python 3.13's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(ensure_certificate(settings))
    client = ssl.create_default_context(cafile=str(settings.ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname=hostname)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client_side, server_side, client_side, server_side):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client_side.version()


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_trusts_every_name_of_this_machine(settings: LocalSettings, hostname: str) -> None:
    assert handshake(settings, hostname) in ("TLSv1.2", "TLSv1.3")


def test_no_other_name_is_trusted(settings: LocalSettings) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(settings, "example.com")


def test_only_the_owner_can_read_the_key(settings: LocalSettings) -> None:
    path = ensure_certificate(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in settings.ca_file.read_bytes()


def test_both_certificates_have_what_strict_verification_wants(settings: LocalSettings) -> None:
    path = ensure_certificate(settings)
    for file, is_authority in ((settings.ca_file, True), (path, False)):
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert usage.critical
        assert constraints.value.ca is is_authority
        assert usage.value.key_cert_sign is is_authority
        assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        assert certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=364) < left <= LIFETIME


def test_a_certificate_that_lasts_is_kept_and_one_that_ends_this_week_is_renewed(
    settings: LocalSettings,
) -> None:
    first = ensure_certificate(settings).read_bytes()
    assert ensure_certificate(settings).read_bytes() == first
    later = datetime.now(UTC) + LIFETIME - timedelta(days=8)
    assert ensure_certificate(settings, now=later).read_bytes() == first
    assert ensure_certificate(settings, now=later + timedelta(days=2)).read_bytes() != first


@pytest.mark.parametrize("damage", ["missing authority", "other authority", "cut short"])
def test_files_that_do_not_belong_together_are_made_anew(
    settings: LocalSettings, tmp_path: Path, damage: str
) -> None:
    path = ensure_certificate(settings)
    if damage == "missing authority":
        settings.ca_file.unlink()
    elif damage == "other authority":
        other = LocalSettings(state_dir=tmp_path / "other", port=1, https_port=2)
        ensure_certificate(other)
        settings.ca_file.write_bytes(other.ca_file.read_bytes())
    else:
        path.write_bytes(path.read_bytes()[:100])
    assert handshake(settings, "localhost") is not None
