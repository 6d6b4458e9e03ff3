"""The PROXY header, beside somebody else's reader: what is taken for one, it reads in the same way."""

from __future__ import annotations

from ipaddress import ip_address

from proxyprotocol.detect import ProxyProtocolDetect
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6

from wsguard.protocol.proxy_header import BadProxyHeader, read, wanted

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_ENDS = bytes((192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 4, 1, 187))

SEEDS = [
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\nGET",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    _SIGNATURE + b"\x21\x11\x00\x0c" + _ENDS + b"GET",
    _SIGNATURE + b"\x21\x21\x00\x24" + bytes(36) + b"GET",
    _SIGNATURE + b"\x20\x00\x00\x00",
    _SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    _SIGNATURE + b"\x21\x11\x00\x13" + _ENDS + b"\x04\x00\x04abcd",
]


def check(data: bytes) -> None:
    """Read as the door reads: never a byte past the header, and no fault."""
    header = b""
    try:
        while count := wanted(header):
            assert count > 0
            more = data[len(header) : len(header) + count]
            header += more
            if len(more) < count:
                if more:
                    wanted(header)
                return
        found = read(header)
    except BadProxyHeader as error:
        _sentence(error)
        return
    if found.source is not None:  # the names of Unix sockets, which theirs decodes, mean nothing to the guard
        theirs = ProxyProtocolDetect().unpack(header)
        assert isinstance(theirs, ProxyResultIPv4 | ProxyResultIPv6), theirs
        assert ip_address(theirs.source[0]) == found.source


def _sentence(error: BadProxyHeader) -> None:
    assert len(str(error)) < 100, "it quotes nothing"
