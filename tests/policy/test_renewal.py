"""Which page a request comes from, for a connection that it might renew, and what the rules say of that."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.sessions.fakes import connection, identity
from wsguard.policy.effective import Effective
from wsguard.policy.forward_auth import PROVIDER
from wsguard.policy.load import load
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.renewal import approved_again, is_same_page, rule_on
from wsguard.policy.yaml_source import SourceText
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.sessions.identity import Identity

HERE = Effective(IPv4Address("192.0.2.7"), "https", Authority("app.test", None), True)
UNKNOWN_SCHEME = Effective(IPv4Address("192.0.2.7"), None, Authority("app.test", None), False)
SAME = "same-origin"


def request(origin: str | None, site: str | None = None) -> Handshake:
    fields = [(b"Sec-Fetch-Site", site.encode())] if site is not None else []
    head = RequestHead("GET", "/ws", (1, 1), Headers(tuple(fields)))
    return Handshake(head, "/ws", b"", None if origin is None else origin.encode(), (), None)


@pytest.mark.parametrize(
    ("opener", "origin", "site", "same"),
    [
        ("https://app.test", "https://app.test", None, True),
        ("https://app.test", "https://app.test:443", None, True),
        ("https://other.test", "https://other.test", "cross-site", True),  # a page of theirs, as the policy lists it
        ("https://app.test", "http://app.test", None, False),
        ("https://app.test", "https://evil.test", SAME, False),
        ("https://app.test", "null", None, False),
        ("null", "null", None, False),
        ("", "", None, False),
        ("file://", "file://", None, False),
        (None, "https://app.test", None, False),
        ("https://app.test", None, None, False),
        ("https://app.test", None, SAME, True),
        ("https://app.test", None, "none", False),
        ("https://app.test", None, "same-site", False),
        ("https://app.test", None, "cross-site", False),
        ("https://other.test", None, SAME, False),
        ("http://app.test", None, SAME, False),
        ("null", None, SAME, False),
        (None, None, None, True),
        (None, None, SAME, False),
        (None, None, "cross-site", False),
    ],
)
def test_pages(opener: str | None, origin: str | None, site: str | None, same: bool) -> None:
    assert is_same_page(connection("c1", identity(), origin=opener), request(origin, site), HERE) is same


def test_where_the_scheme_is_not_known_a_page_of_the_same_host_is_the_same() -> None:
    one = connection("c1", identity(), origin="http://app.test")
    assert is_same_page(one, request(None, SAME), UNKNOWN_SCHEME)


def test_whom_a_service_names_anew_takes_the_place_of_himself() -> None:
    token = identity(sid="s1")
    before = Identity(PROVIDER, "http://me", "alice", PROVIDER, issued_at=1.0)
    now, another = replace(before, issued_at=9.0), replace(before, issuer="http://other", issued_at=9.0)
    assert approved_again((token, before), (token, now)) == (token, now)
    assert approved_again((token, before), (token, another)) == (token, before)
    assert approved_again((token,), (token, now)) == (token,)


RULES = """
apiVersion: wsguard.dev/v1
kind: WebSocketPolicy
metadata: {name: chat}
spec:
  jwt: {providers: [{name: corp, algorithms: [HS256], localSecretFile: k}]}
  authorization:
    rules:
    - {name: net, action: Allow, principal: {clientCIDRs: [192.0.2.0/24]}, cel: "claims.tier == 'gold'
        && request.host == 'app.test' && request.path == '/ws' && request.origin == 'https://app.test'"}
"""


def policy() -> WebSocketPolicy:
    result = load([SourceText("p.yaml", RULES)])
    assert result.policy_set is not None, result.errors
    return result.policy_set.policies[0]


def test_the_rules_see_the_connection_as_it_was_opened_and_its_newer_claims() -> None:
    one = connection("c1", identity())
    one.host = "app.test"
    gold = replace(identity(), claims={"tier": "gold"})
    assert rule_on(one, policy(), (gold,), 1.0).allowed
    assert not rule_on(one, policy(), (replace(gold, claims={"tier": "tin"}),), 1.0).allowed
    one.client_ip = "unknown"
    assert not rule_on(one, policy(), (gold,), 1.0).allowed
