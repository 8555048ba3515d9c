"""Certificates that nobody vouches for, and an authority of one's own that vouches for some."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def self_signed() -> ssl.SSLContext:
    """Make a server's context with a fresh self-signed certificate for localhost."""
    return _server_context(self_signed_chain())


def self_signed_chain() -> bytes:
    """Make a private key and its self-signed certificate, one after the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("localhost")
    return _pem(key, _certificate(name, name, key).sign(key, hashes.SHA256()))


@dataclass(frozen=True)
class VouchedFor:
    """A server at 127.0.0.1, and the authority's certificate (PEM), by which a client believes it."""

    authority: bytes
    server: ssl.SSLContext


def vouched_for() -> VouchedFor:
    """Make an authority and a server's certificate from it, as strict as Python 3.13 wants them."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    may_sign = {name: name in {"key_cert_sign", "crl_sign"} for name in _KEY_USAGES}
    root = (
        _certificate(_name("An authority of one's own"), _name("An authority of one's own"), root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**may_sign), critical=True)
        .add_extension(issuer, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    certificate = (
        _certificate(_name("mail.example.com"), root.subject, key)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return VouchedFor(root.public_bytes(serialization.Encoding.PEM), _server_context(_pem(key, certificate)))


_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _server_context(chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.pem"
        path.write_bytes(chain)
        context.load_cert_chain(path)
    return context
