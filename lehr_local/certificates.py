"""A private certificate authority, so that HTTPS on this machine is real HTTPS.

Clients are given the authority (`curl --cacert`, `AWS_CA_BUNDLE`) instead of being told not to look. The key of the
authority is thrown away once it has signed the one server certificate: nobody can sign another with it.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lehr_local.settings import LocalSettings

LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=7)
# A client's clock may be behind ours.
_BACKDATED = timedelta(hours=1)


def certificate_file(settings: LocalSettings) -> Path:
    """The server's certificate and key in one file, which only its owner may read."""
    return settings.state_dir / "server.pem"


def ensure_certificate(settings: LocalSettings, *, now: datetime | None = None) -> Path:
    """The file of a server certificate for localhost that lasts another week; made if there is none.

    The authority to trust is then in `settings.ca_file`.
    """
    now = now or datetime.now(UTC)
    path = certificate_file(settings)
    if not _is_usable(path, settings.ca_file, now):
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        authority, server, key = _issue(now)
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _write(path, server.public_bytes(pem) + private, mode=0o600)
        _write(settings.ca_file, authority.public_bytes(pem), mode=0o644)
    return path


def _is_usable(path: Path, ca_file: Path, now: datetime) -> bool:
    try:
        server = x509.load_pem_x509_certificate(path.read_bytes())
        authority = x509.load_pem_x509_certificate(ca_file.read_bytes())
        server.verify_directly_issued_by(authority)
    except Exception:  # Missing, cut short, or of two different runs: all mean a new one.
        return False
    return min(server.not_valid_after_utc, authority.not_valid_after_utc) - now > RENEW_BEFORE


def _issue(now: datetime) -> tuple[x509.Certificate, x509.Certificate, ec.EllipticCurvePrivateKey]:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Lehr local cloud authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
            x509.IPAddress(ipaddress.IPv6Address("::1")),
        ]
    )
    server = (
        _builder(_name("localhost"), authority_name, key.public_key(), authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return authority, server, key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.CertificateBuilder:
    """What both certificates have. Python 3.13 refuses a chain without both key identifiers."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Put the whole file in place at once, and never readable by others before its mode is set."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
