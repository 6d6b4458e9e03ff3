"""What a request looked like to the client: the address it came from, and the scheme and Host it asked for.

Law: a forwarding header counts only as far as a trusted peer vouches for it, and of X-Forwarded-* and Forwarded only
the one that the proxies in front are known to set: the other would be the client's own. The proxy in front must set
X-Forwarded-Host and X-Forwarded-Proto itself, or remove the client's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from wsguard.policy.model_guard import ClientIPDetection, TrustedProxies
from wsguard.protocol.authority import Authority, parse_authority
from wsguard.protocol.forwarded import Hop, read_forwarded
from wsguard.protocol.http import Headers, RequestHead
from wsguard.sessions.identity import ClientCertificate

IPAddress = IPv4Address | IPv6Address

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Effective:
    """The request as its client made it.

    `client_ip` is None where nobody vouches for one address. `scheme` is `http`, `https`, or None where it
    cannot be known: a plain TCP listener, with no word from a trusted proxy. `trusted_peer`: the TCP peer is
    such a proxy; `in_forwarded`: what it says, it says in Forwarded. `certificate` is what the TCP peer has shown
    in its TLS handshake, None: nothing.
    """

    client_ip: IPAddress | None
    scheme: str | None
    authority: Authority
    trusted_peer: bool
    certificate: ClientCertificate | None = None
    in_forwarded: bool = False


def effective_request(
    head: RequestHead,
    peer_ip: IPAddress | None,
    tls: bool,
    detection: ClientIPDetection | None,
    certificate: ClientCertificate | None = None,
) -> Effective:
    """The effective request behind `head`, which came from `peer_ip`, over TLS or not, with a certificate or not.

    Raises ValueError where the Host, or what a trusted peer says instead, is no authority, or its Forwarded unreadable.
    """
    peer = None if peer_ip is None else _unmapped(peer_ip)
    own_scheme = "https" if tls else None
    if detection is None or not _is_trusted_peer(peer, detection.proxies):
        return Effective(peer, own_scheme, _authority(head.headers.all(b"host")), False, certificate)
    in_forwarded = detection.forwarded is not None
    said = _forwarded(head.headers) if in_forwarded else _x_forwarded(head.headers)
    scheme = _SCHEMES.get(said.proto.lower(), own_scheme)
    authority = parse_authority(said.host) if said.host else _authority(head.headers.all(b"host"))
    client_ip = _client_ip(said.hops, peer, detection.proxies)
    return Effective(client_ip, scheme, authority, True, certificate, in_forwarded)


@dataclass(frozen=True, slots=True)
class _Said:
    """What the proxies say: the address that each of them saw, the nearest one's last, and its word on the rest."""

    hops: list[str]
    proto: str
    host: str


def _x_forwarded(headers: Headers) -> _Said:
    proto, host = _last(headers, b"x-forwarded-proto"), _last(headers, b"x-forwarded-host")
    return _Said(_list(headers, b"x-forwarded-for"), proto, host)


def _forwarded(headers: Headers) -> _Said:
    """Raises BadForwarded. An element without `for` is a proxy that will not say: nobody knows beyond it."""
    hops = read_forwarded(headers.all(b"forwarded"))
    nearest = hops[-1] if hops else Hop()
    return _Said([hop.node or "unknown" for hop in hops], nearest.proto, nearest.host)


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


@lru_cache(maxsize=4096)
def written_ip(address: IPAddress | None) -> str:
    """An address as logs and header fields have it; one string for all connections of one client."""
    return "unknown" if address is None else str(address)


def _unmapped(address: IPAddress) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _is_trusted_peer(peer: IPAddress | None, proxies: TrustedProxies) -> bool:
    if proxies.num_trusted_hops is not None:
        return proxies.num_trusted_hops > 0
    return peer is not None and _is_in(peer, proxies)


def _is_in(address: IPAddress, proxies: TrustedProxies) -> bool:
    return any(address in network for network in proxies.trusted_cidrs)


def _client_ip(hops: list[str], peer: IPAddress | None, proxies: TrustedProxies) -> IPAddress | None:
    """The address that the trusted proxies saw: from the right, the first that is not one of theirs."""
    if not hops:
        return peer
    if proxies.num_trusted_hops is not None:  # as in Envoy, whose peer is the first hop
        depth = proxies.num_trusted_hops
        return parse_ip(hops[-depth]) if depth <= len(hops) else peer
    for hop in reversed(hops):
        address = parse_ip(hop)
        if address is None or not _is_in(address, proxies):
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
