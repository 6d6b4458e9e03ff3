"""What a request looked like to the client: the address it came from, and the scheme and Host it asked for.

Law: a forwarding header counts only as far as a trusted peer vouches for it. The proxy in front must set
X-Forwarded-Host and X-Forwarded-Proto itself, or remove the client's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from wsguard.policy.model_guard import ClientIPDetection, XForwardedFor
from wsguard.protocol.authority import Authority, parse_authority
from wsguard.protocol.http import Headers, RequestHead
from wsguard.sessions.identity import ClientCertificate

IPAddress = IPv4Address | IPv6Address

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Effective:
    """The request as its client made it.

    `client_ip` is None where nobody vouches for one address. `scheme` is `http`, `https`, or None where it
    cannot be known: a plain TCP listener, with no word from a trusted proxy. `trusted_peer`: the TCP peer is
    such a proxy. `certificate` is what the TCP peer has shown in its TLS handshake, None: nothing.
    """

    client_ip: IPAddress | None
    scheme: str | None
    authority: Authority
    trusted_peer: bool
    certificate: ClientCertificate | None = None


def effective_request(
    head: RequestHead,
    peer_ip: IPAddress | None,
    tls: bool,
    detection: ClientIPDetection | None,
    certificate: ClientCertificate | None = None,
) -> Effective:
    """The effective request behind `head`, which came from `peer_ip`, over TLS or not, with a certificate or not.

    Raises ValueError where the Host (or a trusted peer's X-Forwarded-Host) is no authority.
    """
    peer = None if peer_ip is None else _unmapped(peer_ip)
    forwarded = None if detection is None else detection.x_forwarded_for
    trusted = forwarded is not None and _is_trusted_peer(peer, forwarded)
    if forwarded is None or not trusted:
        return Effective(peer, "https" if tls else None, _authority(head.headers.all(b"host")), False, certificate)
    scheme = _SCHEMES.get(_last(head.headers, b"x-forwarded-proto").lower(), "https" if tls else None)
    host = _last(head.headers, b"x-forwarded-host")
    authority = parse_authority(host) if host else _authority(head.headers.all(b"host"))
    return Effective(_client_ip(head.headers, peer, forwarded), scheme, authority, True, certificate)


@lru_cache(maxsize=4096)
def parse_ip(text: str) -> IPAddress | None:
    """An address as sockets and X-Forwarded-For spell it, port and brackets allowed; None where it is none.

    An IPv4 address mapped into IPv6 is the IPv4 address; a zone is dropped.
    """
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdecimal() and (host.endswith("]") or ":" not in host):
        text = host
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return _unmapped(ip_address(text.partition("%")[0] if ":" in text else text))
    except ValueError:
        return None


def _unmapped(address: IPAddress) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _is_trusted_peer(peer: IPAddress | None, forwarded: XForwardedFor) -> bool:
    if forwarded.num_trusted_hops is not None:
        return forwarded.num_trusted_hops > 0
    return peer is not None and _is_in(peer, forwarded)


def _is_in(address: IPAddress, forwarded: XForwardedFor) -> bool:
    return any(address in network for network in forwarded.trusted_cidrs)


def _client_ip(headers: Headers, peer: IPAddress | None, forwarded: XForwardedFor) -> IPAddress | None:
    """The address that the trusted proxies saw: from the right, the first that is not one of theirs."""
    hops = _list(headers, b"x-forwarded-for")
    if not hops:
        return peer
    if forwarded.num_trusted_hops is not None:  # as in Envoy, whose peer is the first hop
        depth = forwarded.num_trusted_hops
        return parse_ip(hops[-depth]) if depth <= len(hops) else peer
    for hop in reversed(hops):
        address = parse_ip(hop)
        if address is None or not _is_in(address, forwarded):
            return address
    return parse_ip(hops[-1])


def _authority(hosts: Iterable[bytes]) -> Authority:
    values = list(hosts)
    if len(values) != 1:
        raise ValueError("a request has exactly one Host field")
    return parse_authority(values[0].decode("utf-8"))


def _list(headers: Headers, name: bytes) -> list[str]:
    items = b",".join(headers.all(name)).decode("utf-8", "replace").split(",")
    return [item for item in (item.strip(" \t") for item in items) if item]


def _last(headers: Headers, name: bytes) -> str:
    """The nearest proxy's word: what stands before it came from further out and may be the client's own."""
    return (_list(headers, name) or [""])[-1]
