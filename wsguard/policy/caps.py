"""Whom `limits.connections` and `limits.handshakes` count, and where.

Law: who is counted apart is told apart by what he cannot choose: by an address, of IPv6 by the 64 bits that a provider
gives out, or by what a credential proves. An Origin is a browser's word; a program may say any.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address

from wsguard.policy.effective import IPAddress, parse_ip
from wsguard.policy.model import Connections, GuardSpec
from wsguard.policy.origin import Origin
from wsguard.sessions.census import Claim
from wsguard.sessions.connection import Connection
from wsguard.sessions.identity import Identity

UNAUTHENTICATED = "unauthenticated"
_HOST_BITS = 64
_NOBODY_VOUCHES = "unknown"


def client_word(address: IPAddress | None, guard: GuardSpec) -> str | None:
    """By what a client is counted; None: it is not.

    Where nobody says which address a client has, a private one may be that of a proxy with everyone behind it.
    """
    is_told = guard.client_ip_detection is not None or guard.listener.proxy_protocol
    if address is None:
        return _NOBODY_VOUCHES if is_told else None
    return None if not is_told and _is_private(address) else _network(address)


@lru_cache(maxsize=4096)  # the library walks a list of networks for it
def _is_private(address: IPAddress) -> bool:
    return address.is_private or address.is_loopback or address.is_link_local


@lru_cache(maxsize=4096)
def _network(address: IPAddress) -> str:
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"
    return str(address)


@lru_cache(maxsize=256)  # only of Origins that the policy allows, but each may be long
def _page(origin: str) -> str:
    """An Origin as it is compared, not as it is spelt."""
    read = Origin.parse(origin.encode("latin-1"))
    return f"{read.scheme}://{read.host}:{read.port}"


def door_claims(policy: str, caps: Connections, client: str | None, origin: str | None) -> list[Claim]:
    """The places of a connection from `client` (see `client_word`) that need no identity; of the policy so called."""
    claims = []
    if caps.total is not None:
        claims.append(Claim((policy, "total", ""), caps.total))
    if caps.per_client_ip is not None and client is not None:
        claims.append(Claim((policy, "perClientIP", client), caps.per_client_ip))
    if caps.per_origin is not None and origin is not None:
        claims.append(Claim((policy, "perOrigin", _page(origin)), caps.per_origin))
    return claims


def holder_claims(policy: str, caps: Connections, identities: Iterable[Identity]) -> list[Claim]:
    """The places that are those of `identities`, or of nobody."""
    identities = tuple(identities)
    if not identities:
        return [] if caps.unauthenticated is None else [Claim((policy, UNAUTHENTICATED, ""), caps.unauthenticated)]
    claims = []
    for who in identities:
        if caps.per_subject is not None:
            claims.append(Claim((policy, "perSubject", f"{who.issuer} {who.subject}"), caps.per_subject))
        if caps.per_session is not None and who.sid is not None:
            claims.append(Claim((policy, "perSession", f"{who.issuer} {who.sid}"), caps.per_session))
    return claims


def claims_of(connection: Connection, caps: Connections, guard: GuardSpec) -> list[Claim]:
    """All places of one that is open."""
    client = client_word(parse_ip(connection.client_ip), guard)
    door = door_claims(connection.policy, caps, client, connection.origin)
    return [*door, *holder_claims(connection.policy, caps, connection.identities)]
