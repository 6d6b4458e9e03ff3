from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.effective import Effective, effective_request, parse_ip
from wsguard.policy.model import ClientIPDetection, TrustedProxies
from wsguard.policy.origin import SAME_HOST, Origin
from wsguard.protocol.http import Headers, RequestHead

PROXY = "10.0.0.1"
CLIENT = "203.0.113.7"


def trusting(*cidrs: str) -> ClientIPDetection:
    networks = tuple(ip_network(cidr) for cidr in cidrs)
    return ClientIPDetection(x_forwarded_for=TrustedProxies(trusted_cidrs=networks))


def hops(count: int) -> ClientIPDetection:
    return ClientIPDetection(x_forwarded_for=TrustedProxies(num_trusted_hops=count))


TRUSTING = trusting("10.0.0.0/8", "fd00::/8")


def seen(
    *fields: tuple[str, str],
    peer: str | None = PROXY,
    tls: bool = False,
    detection: ClientIPDetection | None = TRUSTING,
) -> Effective:
    headers = Headers(tuple((name.encode(), value.encode()) for name, value in fields))
    head = RequestHead("GET", "/ws", (1, 1), headers)
    return effective_request(head, None if peer is None else ip_address(peer), tls, detection)


HOST = ("Host", "app.example.com")


def client_ip(*forwarded_for: str, peer: str = PROXY, detection: ClientIPDetection | None = TRUSTING) -> str:
    fields = [("X-Forwarded-For", value) for value in forwarded_for]
    return str(seen(HOST, *fields, peer=peer, detection=detection).client_ip)


@pytest.mark.parametrize(
    ("forwarded_for", "peer", "expected"),
    [
        ([], PROXY, PROXY),
        ([CLIENT], PROXY, CLIENT),
        ([CLIENT], CLIENT, CLIENT),
        (["198.51.100.9"], CLIENT, CLIENT),  # an untrusted peer speaks for nobody
        (["198.51.100.9, " + CLIENT], PROXY, CLIENT),  # what the client wrote itself stands on the left
        (["198.51.100.9, 203.0.113.7, 10.1.1.1"], PROXY, CLIENT),
        (["198.51.100.9, 203.0.113.7", "10.1.1.1"], PROXY, CLIENT),
        (["198.51.100.9", "203.0.113.7"], PROXY, CLIENT),
        (["10.9.9.9, 10.2.2.2, 10.1.1.1"], PROXY, "10.1.1.1"),  # all trusted: the rightmost
        (["203.0.113.7:51234"], PROXY, CLIENT),
        (["[2001:db8::7]:51234"], PROXY, "2001:db8::7"),
        (["2001:DB8::7"], PROXY, "2001:db8::7"),
        (["::ffff:203.0.113.7"], PROXY, CLIENT),
        (["203.0.113.7,,  , 10.1.1.1,"], PROXY, CLIENT),
        ([" , "], PROXY, PROXY),
        ([""], PROXY, PROXY),
        ([CLIENT], "::ffff:10.0.0.1", CLIENT),
        ([CLIENT], "fd00::1", CLIENT),
        ([CLIENT], "fe80::1%eth0", "fe80::1%eth0"),
        ([], "::ffff:203.0.113.7", CLIENT),
        (["::ffff:10.1.1.1, ::ffff:10.2.2.2"], PROXY, "10.2.2.2"),
        (["unknown"], PROXY, "None"),  # a proxy that will not say: nobody knows
        (["203.0.113.7, _hidden, 10.1.1.1"], PROXY, "None"),
        (["203.0.113.7, 999.1.1.1"], PROXY, "None"),
        (["unknown, 203.0.113.7"], PROXY, CLIENT),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(
    forwarded_for: list[str], peer: str, expected: str
) -> None:
    assert client_ip(*forwarded_for, peer=peer) == expected


@pytest.mark.parametrize(
    ("count", "forwarded_for", "expected"),
    [
        (1, "203.0.113.7", CLIENT),
        (1, "198.51.100.9, 203.0.113.7", CLIENT),
        (2, "198.51.100.9, 203.0.113.7, 10.1.1.1", CLIENT),
        (2, "203.0.113.7", PROXY),  # fewer than promised: as in Envoy, the peer
        (1, "", PROXY),
        (1, "203.0.113.7, garbage", "None"),
    ],
)
def test_a_number_of_hops_counts_from_the_right(count: int, forwarded_for: str, expected: str) -> None:
    assert client_ip(forwarded_for, detection=hops(count)) == expected


def test_without_detection_the_peer_is_the_client_whatever_it_says() -> None:
    effective = seen(
        HOST,
        ("X-Forwarded-For", "198.51.100.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "other.example.com"),
        detection=None,
    )
    assert effective == Effective(ip_address(PROXY), None, effective.authority, False)
    assert effective.authority.host == "app.example.com"


def test_a_peer_without_address_is_no_trusted_peer() -> None:
    effective = seen(HOST, ("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https"), peer=None)
    assert (effective.client_ip, effective.scheme, effective.trusted_peer) == (None, None, False)


@pytest.mark.parametrize(
    ("proto", "peer", "tls", "scheme"),
    [
        ([], PROXY, False, None),
        ([], PROXY, True, "https"),
        ([], CLIENT, False, None),
        ([], CLIENT, True, "https"),
        (["https"], PROXY, False, "https"),
        (["HTTPS"], PROXY, False, "https"),
        (["wss"], PROXY, False, "https"),
        (["http"], PROXY, False, "http"),
        (["ws"], PROXY, False, "http"),
        (["http"], PROXY, True, "http"),
        (["https"], CLIENT, False, None),
        (["http"], CLIENT, True, "https"),
        ([""], PROXY, False, None),
        (["gopher"], PROXY, False, None),
        (["gopher"], PROXY, True, "https"),
        (["http, https"], PROXY, False, "https"),  # the nearest proxy's word, not the client's
        (["http", "https"], PROXY, False, "https"),
        (["https, http"], PROXY, False, "http"),
    ],
)
def test_the_scheme_is_known_or_vouched_for(proto: list[str], peer: str, tls: bool, scheme: str | None) -> None:
    fields = [("X-Forwarded-Proto", value) for value in proto]
    assert seen(HOST, *fields, peer=peer, tls=tls).scheme == scheme


@pytest.mark.parametrize(
    ("host", "forwarded", "peer", "expected"),
    [
        ("app.example.com", [], PROXY, "app.example.com"),
        ("backend:3000", ["App.example.com."], PROXY, "app.example.com"),
        ("backend:3000", ["app.example.com:8443"], PROXY, "app.example.com:8443"),
        ("backend:3000", ["app.example.com"], CLIENT, "backend:3000"),
        ("backend:3000", [""], PROXY, "backend:3000"),
        ("backend:3000", ["other.example.com, app.example.com"], PROXY, "app.example.com"),
        ("backend:3000", ["other.example.com", "app.example.com"], PROXY, "app.example.com"),
    ],
)
def test_the_host_is_what_the_client_asked_for(host: str, forwarded: list[str], peer: str, expected: str) -> None:
    fields = [("X-Forwarded-Host", value) for value in forwarded]
    assert str(seen(("Host", host), *fields, peer=peer).authority) == expected


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Host", "")],
        [("Host", "a@b")],
        [("Host", "a/b")],
        [("Host", "a,b")],
        [("Host", "a b")],
        [("Host", "a"), ("Host", "a")],
        [("Host", "a"), ("X-Forwarded-Host", "a@b")],
        [("Host", "a"), ("X-Forwarded-Host", "https://a")],
    ],
)
def test_an_impossible_host_is_an_error(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"."):
        seen(*fields)


def test_bytes_that_are_no_text_are_no_host() -> None:
    head = RequestHead("GET", "/", (1, 1), Headers(((b"Host", b"a\xff"), (b"X-Forwarded-For", b"\xff"))))
    with pytest.raises(ValueError, match=r"."):
        effective_request(head, ip_address(PROXY), False, TRUSTING)


@pytest.mark.parametrize(
    ("origin", "proto", "peer", "expected"),
    [
        ("https://app.example.com", "https", PROXY, True),
        ("http://app.example.com", "https", PROXY, False),
        ("http://app.example.com", "http", PROXY, True),
        ("https://app.example.com", "http", PROXY, False),
        ("https://evil.test", "https", PROXY, False),
        ("https://app.example.com", "https", CLIENT, True),  # unknown: 80 and 443 are one
        ("https://evil.test", "https", CLIENT, False),
    ],
)
def test_same_host_behind_a_proxy_that_ends_tls(origin: str, proto: str, peer: str, expected: bool) -> None:
    effective = seen(
        ("Host", "app.example.com" if peer == CLIENT else "guard:8080"),
        ("X-Forwarded-Host", "app.example.com" if peer == PROXY else "evil.test"),
        ("X-Forwarded-Proto", proto),
        peer=peer,
    )
    assert SAME_HOST.matches(Origin.parse(origin.encode()), effective) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", CLIENT),
        ("203.0.113.7:80", CLIENT),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("", "None"),
        ("localhost", "None"),
        ("1.2.3.4:x", "None"),
        ("1.2.3.4:٣", "None"),  # a digit that is not ASCII's
        ("1.2.3.4%eth0", "None"),
        ("1.2.3", "None"),
        ("01.2.3.4", "None"),
        ("[1.2.3.4", "None"),
        ("1:2", "None"),
        ("16909060", "None"),
    ],
)
def test_reads_an_address(text: str, expected: str) -> None:
    assert str(parse_ip(text)) == expected


@given(st.text() | st.text(alphabet="0123456789.:[]%af", max_size=20))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = parse_ip(text)
    assert address is None or parse_ip(str(address)) == address


@given(st.lists(st.ip_addresses().map(str) | st.sampled_from([PROXY, "10.1.1.1", "unknown", ""]), max_size=6))
def test_what_a_client_writes_does_not_move_its_address(written: list[str]) -> None:
    assert client_ip(", ".join([*written, CLIENT, "10.1.1.1"])) == CLIENT


FORWARDED = ClientIPDetection(forwarded=TRUSTING.x_forwarded_for)


@pytest.mark.parametrize(
    ("forwarded", "peer", "expected"),
    [
        ([], PROXY, (PROXY, None, "app.example.com")),
        (["for=203.0.113.7"], PROXY, (CLIENT, None, "app.example.com")),
        (["for=203.0.113.7"], CLIENT, (CLIENT, None, "app.example.com")),  # nobody vouches for it
        (["for=198.51.100.9;proto=https"], CLIENT, (CLIENT, None, "app.example.com")),
        (["for=6.6.6.6;proto=https, for=203.0.113.7;proto=http"], PROXY, (CLIENT, "http", "app.example.com")),
        (["for=6.6.6.6", 'for="203.0.113.7:51", for=10.1.1.1'], PROXY, (CLIENT, None, "app.example.com")),
        (['for="[2001:db8::7]:47";proto=https;host=b.example'], PROXY, ("2001:db8::7", "https", "b.example")),
        (["for=203.0.113.7, for=unknown"], PROXY, ("None", None, "app.example.com")),
        (["for=203.0.113.7, for=_hidden, for=10.1.1.1"], PROXY, ("None", None, "app.example.com")),
        (["for=203.0.113.7, proto=https"], PROXY, ("None", "https", "app.example.com")),
        (["for=10.9.9.9, for=10.2.2.2"], PROXY, ("10.2.2.2", None, "app.example.com")),
    ],
)  # fmt: skip
def test_forwarded_is_walked_from_the_right(
    forwarded: list[str], peer: str, expected: tuple[str, str | None, str]
) -> None:
    effective = seen(HOST, *(("Forwarded", value) for value in forwarded), peer=peer, detection=FORWARDED)
    assert (str(effective.client_ip), effective.scheme, effective.authority.host) == expected


@pytest.mark.parametrize("believed", [FORWARDED, TRUSTING])
def test_only_the_header_that_was_chosen_is_believed(believed: ClientIPDetection) -> None:
    """A proxy that sets the one passes the client's own other on."""
    other = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")]
    if believed is TRUSTING:
        other = [("Forwarded", "for=6.6.6.6;proto=https;host=evil.test")]
    effective = seen(HOST, *other, detection=believed)
    assert (str(effective.client_ip), effective.scheme, effective.authority.host) == (PROXY, None, "app.example.com")


def test_hops_of_forwarded_are_counted() -> None:
    detection = ClientIPDetection(forwarded=hops(2).x_forwarded_for)
    assert (
        str(seen(HOST, ("Forwarded", "for=6.6.6.6, for=203.0.113.7, for=10.1.1.1"), detection=detection).client_ip)
        == CLIENT
    )


@pytest.mark.parametrize("value", ['for="6.6.6.6, for=203.0.113.7', "for=a b", 'for=1.1.1.1;host="a b"'])
def test_an_unreadable_forwarded_is_no_request(value: str) -> None:
    """From a trusted peer; anybody else's is not looked at."""
    with pytest.raises(ValueError, match=r"Forwarded|host|authority"):
        seen(HOST, ("Forwarded", value), detection=FORWARDED)
    assert str(seen(HOST, ("Forwarded", value), peer=CLIENT, detection=FORWARDED).client_ip) == CLIENT
