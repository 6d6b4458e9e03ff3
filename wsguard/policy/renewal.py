"""Which live connections a fresh credential may renew, and what the rules then say of each (`session.renewal`)."""

from __future__ import annotations

from collections.abc import Sequence

from wsguard.policy.authorization import Caller, Ruling, authorize
from wsguard.policy.effective import Effective, parse_ip
from wsguard.policy.forward_auth import PROVIDER
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.origin import SAME_HOST, Origin, allows
from wsguard.protocol.handshake import Handshake
from wsguard.sessions.connection import Connection
from wsguard.sessions.identity import Identity


def is_same_page(connection: Connection, handshake: Handshake, effective: Effective) -> bool:
    """Whether a request comes from the origin that opened `connection`.

    A browser leaves Origin out of a GET to its own host, and then says `Sec-Fetch-Site: same-origin`. Two requests of
    programs have none. A sandboxed page's `null` is the same as no other, not even another `null` (RFC 6454 §5).
    """
    opener = None if connection.origin is None else Origin.parse(connection.origin.encode("latin-1"))
    if handshake.origin is not None:
        page = Origin.parse(handshake.origin)
        return opener is not None and bool(page.scheme) and page == opener
    site = handshake.head.headers.first(b"sec-fetch-site")
    if site is None:
        return opener is None
    return site.strip() == b"same-origin" and opener is not None and allows((SAME_HOST,), opener, effective)


def approved_again(identities: Sequence[Identity], fresh: Sequence[Identity]) -> tuple[Identity, ...]:
    """`identities`, with whom a `forwardAuth` service has named just now in the place of whom it named before.

    It is the same caller; but a log-out asks when he was vouched for.
    """
    named = {(who.issuer, who.subject): who for who in fresh if who.provider == PROVIDER}
    return tuple(named.get((old.issuer, old.subject), old) if old.provider == PROVIDER else old for old in identities)


def rule_on(connection: Connection, policy: WebSocketPolicy, identities: Sequence[Identity], now: float) -> Ruling:
    """What the rules of `policy` say of `connection`, were it to live by `identities` from `now` on."""
    caller = Caller(
        identities[0],
        parse_ip(connection.client_ip),
        host=connection.host,
        path=connection.path,
        origin=connection.origin,
        now=now,
    )
    return authorize(policy.spec.authorization, caller)
