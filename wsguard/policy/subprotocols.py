"""Which offered subprotocol a refusal echoes.

A browser that offered subprotocols and sees none in the 101 fails the handshake (1006): then nobody reads the close
code. The one that carries a credential is echoed only where nothing else was offered.
"""

from __future__ import annotations

from wsguard.policy.handshake_token import PREFIX
from wsguard.policy.model import WebSocketPolicy
from wsguard.protocol.handshake import Handshake


def is_credential(offered: str, policy: WebSocketPolicy | None) -> bool:
    """Whether `policy` looks for a credential in a subprotocol like this one, or the guard for a token of its own."""
    if offered.lower().startswith(PREFIX):
        return True
    if policy is None or not policy.spec.providers:
        return False
    sources = (source for provider in policy.spec.providers for source in provider.extract_from.subprotocols)
    return any(offered.lower().startswith(source.prefix.lower()) for source in sources)


def echo(handshake: Handshake, policy: WebSocketPolicy | None) -> str | None:
    """The subprotocol for the 101 of a refusal; None where none was offered."""
    plain = (name for name in handshake.subprotocols if not is_credential(name, policy))
    return next(plain, next(iter(handshake.subprotocols), None))
