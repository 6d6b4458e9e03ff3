"""The credential that comes in a first message: when it is awaited, and what is read from it.

Keys are followed one by one, unlike those of a claim's name: a reader behind the guard must find the same token.
"""

from __future__ import annotations

from typing import Any

from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential, Kind, first_message_places
from wsguard.policy.decision import Refuse
from wsguard.policy.model import Enforcement, FirstMessage, WebSocketPolicy
from wsguard.policy.subprotocols import plain_offers, promised
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.connection import Stream


def first_message_of(policy: WebSocketPolicy) -> FirstMessage | None:
    """The bounds of the first message of `policy`: all its providers that read it have the same."""
    sources = (provider.extract_from.first_message for provider in policy.spec.providers)
    return next((source for source in sources if source is not None), None)


def awaited(case: Case) -> FirstMessage | None:
    """The first message that a handshake is to be followed by before it can be judged; None: it can be now.

    To be asked once the early checks have passed. A policy that only audits awaits none where that would break the
    application: a client that offers subprotocols may leave when it is answered with none of them.
    """
    policy = case.policy
    if policy is None or case.credentials != () or case.stream is not Stream.WEB_SOCKET:
        return None
    if policy.spec.enforcement is Enforcement.AUDIT and promised(case.handshake, policy) is None:
        return None if plain_offers(case.handshake, policy) else first_message_of(policy)
    return first_message_of(policy)


def read_first_message(policy: WebSocketPolicy, text: bytes | None) -> tuple[Credential, ...] | Refuse:
    """The credentials in a first message, at least one. `text` is None where the message was binary."""
    if text is None:
        return Refuse(CloseReason.CREDENTIAL_INVALID, "the first message is binary")
    try:
        message = parse_object(text)
    except ValueError as error:
        return Refuse(CloseReason.CREDENTIAL_INVALID, f"the first message: {error}")
    found = []
    for path, providers, forward in first_message_places(policy):
        value = _at(message, path)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            return Refuse(CloseReason.CREDENTIAL_INVALID, f"the first message: {path} is not a string")
        found.append(Credential(Kind.FIRST_MESSAGE, path, providers, forward, value))
    if not found:
        paths = " and ".join(path for path, _, _ in first_message_places(policy)) or "any place that is looked at"
        return Refuse(CloseReason.CREDENTIAL_MISSING, f"the first message has nothing at {paths}")
    return tuple(found)


def is_forwarded(credentials: tuple[Credential, ...]) -> bool:
    """Whether the backend gets the message that `credentials` were read from: not where any of them is to be hidden."""
    return all(credential.forward for credential in credentials)


def _at(message: dict[str, Any], path: str) -> Any:
    value: Any = message
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
