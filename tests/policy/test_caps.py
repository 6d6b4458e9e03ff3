"""Whom limits count, by which word."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.sessions.fakes import connection, identity
from wsguard.policy.caps import claims_of, client_word
from wsguard.policy.effective import parse_ip
from wsguard.policy.model import ClientIPDetection, Connections, GuardSpec, Listener, TrustedProxies
from wsguard.sessions.census import Claim

PLAIN = GuardSpec()
TOLD = GuardSpec(client_ip_detection=ClientIPDetection(x_forwarded_for=TrustedProxies(num_trusted_hops=1)))
PROXY = GuardSpec(listener=Listener(proxy_protocol=True))


@pytest.mark.parametrize("guard", [TOLD, PROXY], ids=["clientIPDetection", "proxyProtocol"])
@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_addresses(address: str, word: str, guard: GuardSpec) -> None:
    assert client_word(parse_ip(address), guard) == word


def test_where_nobody_tells() -> None:
    assert client_word(None, PLAIN) is None
    assert client_word(None, TOLD) == "unknown"
    for private in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "fe80::1", "fd00::1", "::1"):
        assert client_word(ip_address(private), PLAIN) is None
    assert client_word(ip_address("8.8.8.8"), PLAIN) == "8.8.8.8"


def test_all_places_of_a_connection() -> None:
    caps = Connections(total=6, per_subject=5, per_client_ip=4, per_origin=3, per_session=2, unauthenticated=1)
    issuer = "https://idp.test"
    known = connection("1", identity("ann", sid="s"), origin="https://APP.test:443")
    door = [
        Claim(("chat", "total", ""), 6),
        Claim(("chat", "perClientIP", "192.0.2.7"), 4),
        Claim(("chat", "perOrigin", "https://app.test:443"), 3),
    ]
    assert claims_of(known, caps, TOLD) == [
        *door,
        Claim(("chat", "perSubject", f"{issuer} ann"), 5),
        Claim(("chat", "perSession", f"{issuer} s"), 2),
    ]
    assert claims_of(connection("2"), caps, TOLD) == [*door, Claim(("chat", "unauthenticated", ""), 1)]
    assert claims_of(connection("3", origin=None), Connections(per_origin=1), TOLD) == []
