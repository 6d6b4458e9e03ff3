"""X.509 certificates as far as the guard reads them itself: whose they are, until when, and with which key.

Whether a chain leads to a trusted root is for the TLS library to say. What is refused is told without quoting a key.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from wsguard.policy.hosts import HostPattern
from wsguard.sessions.identity import ClientCertificate


def read_client_certificate(der: bytes) -> ClientCertificate:
    """Whom a client's certificate is for, from its DER. Raises ValueError where it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return ClientCertificate(certificate.subject.rfc4514_string(), tuple(_sans(certificate)))
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None


def read_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate of a file, and so the one that is shown as one's own. Raises ValueError."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ValueError("it is not PEM") from None


def hosts(certificate: x509.Certificate) -> tuple[HostPattern, ...]:
    """The host names that a server's certificate is for; what is no host in it is left out."""
    found = []
    for san in _sans(certificate):
        kind, _, name = san.partition(":")
        if kind == "DNS":
            try:
                found.append(HostPattern.parse(name))
            except ValueError:
                continue
    return tuple(found)


def is_for(patterns: tuple[HostPattern, ...], host: str) -> bool:
    """Whether a certificate for `patterns` is for `host`, too. A wildcard stands for one label (RFC 9525 §6.3)."""
    first, _, parent = host.partition(".")
    return any(pattern.host == (parent if pattern.wildcard and first else host) for pattern in patterns)


def check_key(certificate: x509.Certificate, pem: bytes) -> None:
    """Raises ValueError, with a sentence, where `pem` is not the private key of `certificate`."""
    key = _private_key(pem)
    shown = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*shown) != certificate.public_key().public_bytes(*shown):
        raise ValueError("it is not the key of the certificate")


def validity_problem(certificate: x509.Certificate, now: float) -> str | None:
    """What is wrong with its dates at `now` (seconds since the epoch), if anything."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end.timestamp():
        return f"it expired at {end:%Y-%m-%dT%H:%M:%SZ}"
    return f"it is not valid before {start:%Y-%m-%dT%H:%M:%SZ}" if now < start.timestamp() else None


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("it is encrypted, and nobody would be there to type its password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is no private key in PEM") from None


def _sans(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        match name:
            case x509.DNSName(value=value):
                yield f"DNS:{value}"
            case x509.RFC822Name(value=value):
                yield f"email:{value}"
            case x509.UniformResourceIdentifier(value=value):
                yield f"URI:{value}"
            case x509.IPAddress(value=value):
                yield f"IP:{value}"
