"""Certificates as an operator's would be, made anew for each test: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; `folder` is where they are written, its own as `NAME.pem`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Authority {name}")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self.name, self._key, DAY).add_extension(constraints, critical=True)
        self.file = folder / f"{name}.pem"
        self.pem = _pem(builder.sign(self._key, hashes.SHA256()))
        self.file.write_bytes(self.pem)

    def issue(
        self, name: str, *sans: x509.GeneralName, subject: str | None = None, days: float = 1, file: str | None = None
    ) -> tuple[str, str]:
        """A certificate for `name` and `sans`, valid for `days` from yesterday on; the files of it and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        whole = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject or name)])
        builder = self._builder(whole, key, DAY * days)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        written = serialization.NoEncryption()
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, written
        stem = file or name
        self._write(f"{stem}.key", key.private_bytes(*form))
        return self._write(f"{stem}.crt", _pem(builder.sign(self._key, hashes.SHA256()))), str(
            self.folder / f"{stem}.key"
        )

    def server(self, name: str, *, days: float = 1, file: str | None = None) -> tuple[str, str]:
        """A certificate for a host, by its name or address."""
        return self.issue(name, _host(name), days=days, file=file)

    def trusting(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        """A client's context that trusts this authority alone, and shows `certificate`."""
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def serving(self, name: str) -> ssl.SSLContext:
        """A server's context with a certificate for `name`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.server(name, file=f"serving-{name}"))
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY * 2)
            .not_valid_after(now + until)
        )

    def _write(self, name: str, data: bytes) -> str:
        """Atomically, as whoever renews a certificate should."""
        temporary = self.folder / f".{name}"
        temporary.write_bytes(data)
        temporary.rename(self.folder / name)
        return str(self.folder / name)


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
