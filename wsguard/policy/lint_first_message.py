"""What is wrong about a first message that is awaited, and about the subprotocols that may be spoken."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.model import FirstMessage, IntrospectionProvider, JwtProvider, WebSocketPolicy
from wsguard.policy.problems import Finding, Severity
from wsguard.policy.subprotocols import is_credential

Path = tuple[str | int, ...]


def check_first_message(policy: WebSocketPolicy) -> Iterator[Finding]:
    """There is one first message, and nobody who may do without a token is asked for it."""
    first: FirstMessage | None = None
    for path, message, is_optional in _sources(policy):
        if is_optional:
            why = "does not go with optional: whoever sends no token would wait for a first message that is none"
            yield Finding(path, why, Severity.ERROR)
        if (token := policy.spec.origin.handshake_token) is not None and token.required:
            why = "never awaited: handshakeToken is required, and one is given for a credential of the handshake itself"
            yield Finding(path, why, Severity.ERROR)
        first = first or message
        if (message.timeout, message.max_size) != (first.timeout, first.max_size):
            why = "expected the timeout and maxSize of the policy's other firstMessage: there is only one message"
            yield Finding(path, why, Severity.ERROR)


def _sources(policy: WebSocketPolicy) -> Iterator[tuple[Path, FirstMessage, bool]]:
    """Every `firstMessage`, where it stands, and whether its part is optional."""
    for name, part in (("jwt", policy.spec.jwt), ("introspection", policy.spec.introspection)):
        if part is not None:
            providers: tuple[JwtProvider | IntrospectionProvider, ...] = part.providers
            for i, provider in enumerate(providers):
                if provider.extract_from.first_message is not None:
                    path: Path = ("spec", name, "providers", i, "extractFrom", "firstMessage")
                    yield path, provider.extract_from.first_message, part.optional


def check_subprotocols(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A name that is never spoken."""
    for i, name in enumerate(policy.spec.limits.subprotocols):
        if is_credential(name, policy):
            message = f'"{name}" is taken for a credential: extractFrom.subprotocols looks for one behind such a prefix'
            yield Finding(("spec", "limits", "subprotocols", i), message, Severity.ERROR)
