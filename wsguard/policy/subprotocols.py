"""What becomes of the subprotocols that a client offers, as far as that is the guard's affair.

A browser that offered subprotocols and sees none in the 101 fails the handshake (1006): then nobody reads the close
code. The one that carries a credential is echoed only where nothing else was offered.
"""

from __future__ import annotations

from wsguard.policy.handshake_token import PREFIX
from wsguard.policy.model import Enforcement, WebSocketPolicy
from wsguard.protocol.handshake import Handshake


def is_credential(offered: str, policy: WebSocketPolicy | None) -> bool:
    """Whether `policy` looks for a credential in a subprotocol like this one, or the guard for a token of its own."""
    if offered.lower().startswith(PREFIX):
        return True
    if policy is None or not policy.spec.providers:
        return False
    sources = (source for provider in policy.spec.providers for source in provider.extract_from.subprotocols)
    return any(offered.lower().startswith(source.prefix.lower()) for source in sources)


def plain_offers(handshake: Handshake, policy: WebSocketPolicy | None) -> tuple[str, ...]:
    """What was offered and carries no credential, in the client's order."""
    return tuple(name for name in handshake.subprotocols if not is_credential(name, policy))


def echo(handshake: Handshake, policy: WebSocketPolicy | None) -> str | None:
    """The subprotocol for the 101 of a refusal; None where none was offered."""
    return next(iter((*plain_offers(handshake, policy), *handshake.subprotocols)), None)


def unlisted(handshake: Handshake, policy: WebSocketPolicy) -> tuple[str, ...]:
    """Offers that the backend does not get, because `limits.subprotocols` does not list them.

    A policy that only audits takes none away.
    """
    listed = policy.spec.limits.subprotocols
    if not listed or policy.spec.enforcement is Enforcement.AUDIT:
        return ()
    return tuple(name for name in plain_offers(handshake, policy) if name not in listed)


def promised(handshake: Handshake, policy: WebSocketPolicy) -> str | None:
    """The subprotocol of a 101 that is sent before the backend is asked: the first offered that is listed."""
    listed = policy.spec.limits.subprotocols
    return next((name for name in plain_offers(handshake, policy) if name in listed), None)


def answered_early(handshake: Handshake, policy: WebSocketPolicy) -> str | None:
    """What such a 101 says: the promise; else, where nothing but credentials was offered, the first of them."""
    if plain_offers(handshake, policy):
        return promised(handshake, policy)
    return next(iter(handshake.subprotocols), None)
