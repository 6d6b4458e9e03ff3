"""The PROXY header against an implementation of somebody else's, and against whatever is no header."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from wsguard.protocol.proxy_header import BadProxyHeader, ProxyHeader, read, wanted

PORTS = st.integers(0, 65535)
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"


def taken(stream: bytes) -> tuple[ProxyHeader, bytes]:
    """What a reader that asks `wanted` takes for the header of `stream`, and what it has left unread."""
    data = b""
    while count := wanted(data):
        more = stream[len(data) : len(data) + count]
        if not more:
            raise EOFError
        data += more
    return read(data), stream[len(data) :]


def packed(version: int, source: IPv4Address | IPv6Address, destination: object, ports: tuple[int, int]) -> bytes:
    """A header as `proxy-protocol` writes it."""
    ends = (source, ports[0]), (destination, ports[1])
    is_v4 = isinstance(source, IPv4Address)
    result = (ProxyResultIPv4 if is_v4 else ProxyResultIPv6)(*ends, protocol=socket.SOCK_STREAM)  # type: ignore[arg-type]
    writer = ProxyProtocolV1() if version == 1 else ProxyProtocolV2()
    return bytes(writer.pack(result))


@given(
    st.sampled_from((1, 2)),
    st.one_of(st.tuples(V4, V4), st.tuples(V6, V6)),
    st.tuples(PORTS, PORTS),
    st.binary(max_size=40),
)
def test_what_another_implementation_writes(
    version: int, ends: tuple[IPv4Address, IPv4Address], ports: tuple[int, int], behind: bytes
) -> None:
    """The source is the same, and not a byte behind the header is taken."""
    header, rest = taken(packed(version, *ends, ports) + behind)
    assert header == ProxyHeader(ends[0], is_relayed=True)
    assert rest == behind


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Nothing else than a header, a refusal or a wish for more comes of them."""
    for stream in (data, b"PROXY " + data, SIGNATURE + data, SIGNATURE + b"\x21\x11" + data):
        try:
            header, rest = taken(stream)
        except (BadProxyHeader, EOFError):
            continue
        assert isinstance(header, ProxyHeader)
        assert stream.endswith(rest)


@given(st.integers(0, len(LINE) - 1), st.integers(0, 255))
def test_a_changed_byte(at: int, byte: int) -> None:
    """A line with one byte changed is a header of the same form, or none."""
    stream = LINE[:at] + bytes([byte]) + LINE[at + 1 :]
    try:
        header, rest = taken(stream)
    except (BadProxyHeader, EOFError):
        return
    assert header.is_relayed
    assert rest == b""


@pytest.mark.parametrize(
    "data", [LOCAL, SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff:f 1 2\r\n"]
)
def test_a_proxy_that_speaks_for_itself(data: bytes) -> None:
    """A health check, or a proxy that does not know: the peer is the peer."""
    assert taken(data) == (ProxyHeader(), b"")


def test_a_client_of_the_proxy_on_a_unix_socket() -> None:
    data = SIGNATURE + b"\x21\x31" + (216).to_bytes(2, "big") + bytes(216)
    assert taken(data) == (ProxyHeader(None, is_relayed=True), b"")


def test_further_fields_are_passed_over() -> None:
    """Type, length and value behind the addresses, such as the name that the client asked for."""
    addresses = IPv4Address("192.0.2.1").packed + IPv4Address("198.51.100.2").packed + bytes(4)
    field = b"\x02\x00\x03foo"
    data = SIGNATURE + b"\x21\x11" + (12 + len(field)).to_bytes(2, "big") + addresses + field
    assert taken(data + b"GET") == (ProxyHeader(IPv4Address("192.0.2.1"), is_relayed=True), b"GET")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", "does not begin"),
        (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "does not begin"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", "port"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", "port"),
        (b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", "address"),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", "address"),
        (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", "address"),
        (b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", "unreadable"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "unreadable"),
        (b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", "unreadable"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n" + b" " * 90, "does not end"),
        (b"PROXY UNKNOWN " + b"x" * 200, "does not end"),
        (SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12), "version"),
        (SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12), "command"),
        (SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), "kind"),
        (SIGNATURE + b"\x21\x41\x00\x0c" + bytes(12), "kind"),
        (SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11), "addresses"),
        (SIGNATURE + b"\x21\x11\xff\xff" + bytes(11), "65535 bytes"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadProxyHeader, match=why):
        taken(data)
