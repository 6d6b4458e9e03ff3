"""What is read of certificates: whom they are for, until when, and whose key goes with them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from wsguard.policy.certificates import (
    check_key,
    hosts,
    is_for,
    read_certificate,
    read_client_certificate,
    validity_problem,
)
from wsguard.policy.hosts import HostPattern
from wsguard.sessions.identity import ClientCertificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _read(files: tuple[str, str]) -> x509.Certificate:
    return read_certificate(Path(files[0]).read_bytes())


def test_whom_a_clients_certificate_is_for(authority: Authority) -> None:
    """Each name with its kind; a comma in a subject is escaped as RFC 4514 has it."""
    certificate = _read(
        authority.issue(
            "ann",
            x509.DNSName("a.example.test"),
            x509.RFC822Name("ann@example.test"),
            x509.UniformResourceIdentifier("spiffe://example.test/ann"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            subject="Ann, of Example",
        )
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    sans = ("DNS:a.example.test", "email:ann@example.test", "URI:spiffe://example.test/ann", "IP:192.0.2.1")
    assert read_client_certificate(der) == ClientCertificate("CN=Ann\\, of Example", sans)


@given(st.binary(max_size=200))
def test_what_is_no_certificate(data: bytes) -> None:
    """One kind of error, whatever it is."""
    for read in (read_client_certificate, read_certificate):
        with pytest.raises(ValueError, match=r"."):
            read(data)


def test_hosts_of_a_certificate(authority: Authority) -> None:
    """What is no host is left out."""
    names = (x509.DNSName("*.Example.test"), x509.DNSName("a_b*"), x509.RFC822Name("ann@example.test"))
    assert hosts(_read(authority.issue("a", *names))) == (HostPattern("example.test", wildcard=True),)
    assert hosts(_read(authority.issue("b"))) == ()


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("example.test", True),
        ("a.wild.test", True),
        ("a.b.wild.test", False),
        ("wild.test", False),
        ("other.test", False),
        ("", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host: str, is_it: bool) -> None:
    """RFC 9525 §6.3."""
    assert is_for((HostPattern("example.test"), HostPattern("wild.test", wildcard=True)), host) is is_it


def test_the_key_of_a_certificate(authority: Authority) -> None:
    """Another's, one under a password, and what is none: each is a sentence without a byte of it."""
    one, two = authority.issue("one"), authority.issue("two")
    certificate, key = _read(one), Path(one[1]).read_bytes()
    check_key(certificate, key)
    with pytest.raises(ValueError, match="not the key of the certificate"):
        check_key(certificate, Path(two[1]).read_bytes())
    with pytest.raises(ValueError, match="no private key in PEM"):
        check_key(certificate, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    with pytest.raises(ValueError, match="encrypted"):
        check_key(certificate, serialization.load_pem_private_key(key, None).private_bytes(*form))


def test_the_dates_of_a_certificate(authority: Authority) -> None:
    certificate = _read(authority.issue("one"))
    start, end = (date.timestamp() for date in (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    assert validity_problem(certificate, start + 1) is None
    assert (validity_problem(certificate, end + 1) or "").startswith("it expired at 20")
    assert (validity_problem(certificate, start - 1) or "").startswith("it is not valid before 20")
