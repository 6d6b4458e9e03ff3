"""What the backend is told of the client: the guard's word, and a trusted peer's."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from wsguard.policy.effective import Effective
from wsguard.policy.forwarding import with_forwarded
from wsguard.protocol.authority import Authority
from wsguard.protocol.http import Headers, RawHeaders
from wsguard.sessions.identity import ClientCertificate

PEER = ip_address("192.0.2.1")
SPOOFED: RawHeaders = (
    (b"X-Forwarded-For", b"6.6.6.6"),
    (b"x-forwarded-PROTO", b"https"),
    (b"X_Forwarded_Host", b"evil.test"),
    (b"Forwarded", b"for=6.6.6.6"),
    (b"X-Forwarded_For", b"6.6.6.6"),
)


def effective(scheme: str | None = None, *, trusted: bool = False, authority: Authority | None = None) -> Effective:
    return Effective(PEER, scheme, authority or Authority("app.example.com", 8443), trusted_peer=trusted)


def test_an_untrusted_peers_words_are_replaced() -> None:
    """In every spelling that some backend reads as the same name; the rest keeps its order."""
    headers = Headers(((b"A", b"1"), *SPOOFED, (b"B", b"2")))
    assert with_forwarded(headers, effective(), PEER, tls=False).raw == (
        (b"A", b"1"),
        (b"B", b"2"),
        (b"X-Forwarded-For", b"192.0.2.1"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Host", b"app.example.com:8443"),
    )


def test_a_trusted_peers_chain_is_kept_and_added_to() -> None:
    """Every field of it, in its order; but not what is spelt otherwise, which nobody vouched for."""
    headers = Headers(
        ((b"X-Forwarded-For", b"198.51.100.1, 203.0.113.7"), (b"x-forwarded-for", b"caf\xe9"), *SPOOFED[2:])
    )
    told = with_forwarded(headers, effective("https", trusted=True), PEER, tls=False)
    assert told.raw == (
        (b"X-Forwarded-For", b"198.51.100.1, 203.0.113.7, caf\xe9, 192.0.2.1"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"app.example.com:8443"),
    )


@pytest.mark.parametrize(
    ("scheme", "tls", "told"),
    [(None, False, b"http"), (None, True, b"https"), ("https", False, b"https"), ("http", True, b"http")],
)
def test_the_scheme_is_the_one_that_the_client_used(scheme: str | None, tls: bool, told: bytes) -> None:
    assert with_forwarded(Headers(), effective(scheme), PEER, tls).first(b"x-forwarded-proto") == told


@pytest.mark.parametrize(
    ("authority", "told"),
    [
        (Authority("app.example.com", None), b"app.example.com"),
        (Authority("app.example.com", 80), b"app.example.com:80"),
        (Authority("xn--bcher-kva.example", None), b"xn--bcher-kva.example"),
        (Authority("[::1]", 80), b"[::1]:80"),
    ],
)
def test_the_host_is_the_one_that_was_judged(authority: Authority, told: bytes) -> None:
    headers = with_forwarded(Headers(), effective(authority=authority), PEER, tls=False)
    assert headers.first(b"x-forwarded-host") == told


def test_a_peer_without_an_address_is_said_to_be_unknown() -> None:
    """RFC 7239 §6.2 has a word for it."""
    assert with_forwarded(Headers(), effective(), None, tls=False).first(b"x-forwarded-for") == b"unknown"
    v6 = ip_address("2001:db8::1")
    assert with_forwarded(Headers(), effective(), v6, tls=False).first(b"x-forwarded-for") == b"2001:db8::1"


def test_whom_a_client_certificate_is_for() -> None:
    """What could end the line or the list is encoded."""
    shown = replace(effective(), certificate=ClientCertificate("CN=Zo\u00eb\r\nX: y", ("DNS:a", "URI:b,c")))
    told = with_forwarded(Headers(), shown, PEER, tls=True)
    assert told.all(b"x-wsguard-client-cert-subject") == [b"CN=Zo%C3%AB%0D%0AX: y"]
    assert told.all(b"x-wsguard-client-cert-san") == [b"DNS:a,URI:b%2Cc"]
    bare = with_forwarded(Headers(), replace(shown, certificate=ClientCertificate("CN=a")), PEER, tls=True)
    assert bare.first(b"x-wsguard-client-cert-san") is None
    assert with_forwarded(Headers(), effective(), PEER, tls=True).first(b"x-wsguard-client-cert-subject") is None


def test_a_chain_in_forwarded_is_kept_and_added_to() -> None:
    """X-Forwarded-For says the same to a backend that knows only that; the client's own is not believed."""
    headers = Headers(
        ((b"Forwarded", b"for=203.0.113.7;proto=https"), (b"Forwarded", b'for="[2001:db8::1]:9", for=_x'), SPOOFED[0])
    )
    seen = replace(effective("https", trusted=True), in_forwarded=True)
    told = with_forwarded(headers, seen, ip_address("2001:db8::2"), tls=False)
    ours = b'for="[2001:db8::2]";host="app.example.com:8443";proto=https'
    assert told.all(b"forwarded") == [b'for=203.0.113.7;proto=https, for="[2001:db8::1]:9", for=_x, ' + ours]
    assert told.all(b"x-forwarded-for") == [b"203.0.113.7, 2001:db8::1, unknown, 2001:db8::2"]
    assert told.all(b"x-forwarded-proto") == [b"https"]
    unknown = with_forwarded(Headers(), seen, None, tls=False)
    assert unknown.first(b"forwarded") == b'for="unknown";host="app.example.com:8443";proto=https'
