"""Authorities made by a test, and certificates for 127.0.0.1 that they sign."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """An authority: `file` is its own certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        """Make one in a folder."""
        folder.mkdir(exist_ok=True)
        self.file = folder / f"{name}.pem"
        self._folder, self._name, self._key = folder, _name_of(name), ec.generate_private_key(ec.SECP256R1())
        issuing = x509.BasicConstraints(ca=True, path_length=0)
        made = _builder(self._name, self._name, self._key).add_extension(issuing, critical=True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def sign(self, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Make a server's certificate and key: two files."""
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.SubjectAlternativeName([_host(host)])
        made = _builder(self._name, _name_of(host), key).add_extension(name, critical=False)
        certificate, its_key = self._folder / f"{host}.pem", self._folder / f"{host}.key"
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        plain = serialization.NoEncryption()
        its_key.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain))
        return certificate, its_key


def _builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


def _name_of(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
