"""The PROXY protocol, versions 1 and 2: what a proxy in front says of a connection before its first byte.

Law: exactly the header is read and nothing behind it, which is TLS or HTTP and somebody else's to read. Strict: what
the specification does not write is no header (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, §2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PREFIX = b"PROXY "
_MOST_V1 = 107
_HEAD_V2 = 16
_MOST_V2 = 4096  # bytes behind that head; a header with a client's certificate in it stays far below

_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_ADDRESSES_V2 = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""How long the addresses are, by family and transport. Datagrams are none of ours."""


class BadProxyHeader(ValueError):
    """What came is no PROXY header: a sentence, which quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Where the client is. `source` is None where the proxy names no address, as for one on a Unix socket.

    Not `is_relayed`: the proxy speaks for itself (a health check), or does not know, and the connection's own peer is
    its client.
    """

    source: IPv4Address | IPv6Address | None = None
    is_relayed: bool = False


def wanted(data: bytes) -> int:
    """How many bytes may be read behind `data`, the beginning of a header, but not past its end; 0: it is whole.

    Raises BadProxyHeader as soon as it cannot become one.
    """
    if len(data) < len(_SIGNATURE):
        if not (_SIGNATURE.startswith(data) or _is_v1(data)):
            raise BadProxyHeader("the connection does not begin with a PROXY header")
        return len(_SIGNATURE) - len(data)
    if data.startswith(_SIGNATURE):
        if len(data) < _HEAD_V2:
            return _HEAD_V2 - len(data)
        length = int.from_bytes(data[14:_HEAD_V2], "big")
        if length > _MOST_V2:
            raise BadProxyHeader(f"a PROXY header of {length} bytes")
        return _HEAD_V2 + length - len(data)
    if not _is_v1(data):
        raise BadProxyHeader("the connection does not begin with a PROXY header")
    if data.endswith(b"\r\n"):
        return 0
    if len(data) >= _MOST_V1 or b"\n" in data or b"\r" in data[:-1]:
        raise BadProxyHeader("a PROXY header whose line does not end")
    return 1 if data.endswith(b"\r") or len(data) == _MOST_V1 - 1 else 2


def read(data: bytes) -> ProxyHeader:
    """A whole header. Raises BadProxyHeader."""
    return _read_v2(data) if data.startswith(_SIGNATURE) else _read_v1(data)


def _is_v1(data: bytes) -> bool:
    return data.startswith(_PREFIX) or _PREFIX.startswith(data)


def _read_v1(data: bytes) -> ProxyHeader:
    if len(data) > _MOST_V1:
        raise BadProxyHeader(f"a PROXY header of {len(data)} bytes")
    if _UNKNOWN.fullmatch(data):
        return ProxyHeader()
    found = _LINE.fullmatch(data)
    if found is None:
        raise BadProxyHeader("an unreadable PROXY header")
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        source, _ = (kind(found[i].decode("ascii")) for i in (2, 3))
    except ValueError:
        raise BadProxyHeader("a PROXY header with an unreadable address") from None
    if any(str(int(found[i])).encode() != found[i] or int(found[i]) > 65535 for i in (4, 5)):
        raise BadProxyHeader("a PROXY header with an unreadable port")
    return ProxyHeader(source, is_relayed=True)


def _read_v2(data: bytes) -> ProxyHeader:
    if len(data) < _HEAD_V2 or len(data) != _HEAD_V2 + int.from_bytes(data[14:_HEAD_V2], "big"):
        raise BadProxyHeader("a PROXY header that is cut short")
    version, command, family = data[12] >> 4, data[12] & 0xF, data[13]
    if version != 2 or command > 1:
        raise BadProxyHeader("a PROXY header of an unknown version or command")
    if command == 0:  # LOCAL: whatever it says of addresses does not count
        return ProxyHeader()
    length = _ADDRESSES_V2.get(family)
    if length is None:
        raise BadProxyHeader("a PROXY header for another kind of connection")
    addresses = data[_HEAD_V2:]
    if len(addresses) < length:
        raise BadProxyHeader("a PROXY header without its addresses")
    if family == 0x11:
        return ProxyHeader(IPv4Address(addresses[:4]), is_relayed=True)
    if family == 0x21:
        return ProxyHeader(IPv6Address(addresses[:16]), is_relayed=True)
    return ProxyHeader(is_relayed=bool(family))  # a Unix socket has no address, and UNSPEC is no word at all
