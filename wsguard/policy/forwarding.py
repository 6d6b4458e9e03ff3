"""What the backend is told of the client, and what a client may not tell it.

X-Forwarded-For, -Proto and -Host are the guard's to set; only a trusted peer's own chain is kept and added to. Where
that peer is believed in its Forwarded, the chain is the one in there, and Forwarded goes on too. Of a client
certificate it is told in X-Wsguard-Client-Cert-*, which no client can send.
"""

from __future__ import annotations

from wsguard.policy.effective import Effective, IPAddress, parse_ip, written_ip
from wsguard.policy.identity_headers import certificate_headers
from wsguard.protocol.forwarded import element, read_forwarded
from wsguard.protocol.http import Headers, RawHeaders, folded

_OURS = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"))


def with_forwarded(headers: Headers, effective: Effective, peer_ip: IPAddress | None, tls: bool) -> Headers:
    """`headers` with X-Forwarded-For, -Proto, -Host and X-Wsguard-Client-Cert-* as the backend may believe them."""
    peer = written_ip(peer_ip)
    scheme = effective.scheme or ("https" if tls else "http")
    hops = [peer]
    chain: RawHeaders = ()
    if effective.in_forwarded:
        told = headers.all(b"forwarded")
        hops = [*(_bare(hop.node) for hop in read_forwarded(told)), peer]
        chain = ((b"Forwarded", b", ".join((*told, element(peer, str(effective.authority), scheme)))),)
    elif effective.trusted_peer:
        hops = [*(value.decode("latin-1") for value in headers.all(b"x-forwarded-for")), peer]
    return Headers(
        (
            *(field for field in headers.raw if folded(field[0]) not in _OURS),
            (b"X-Forwarded-For", ", ".join(hops).encode("latin-1")),
            (b"X-Forwarded-Proto", scheme.encode("ascii")),
            (b"X-Forwarded-Host", str(effective.authority).encode("ascii")),
            *chain,
            *certificate_headers(effective.certificate),
        )
    )


def _bare(node: str) -> str:
    """An address as X-Forwarded-For has it; whatever else a proxy says instead of one is no address there."""
    address = parse_ip(node)
    return "unknown" if address is None else str(address)
