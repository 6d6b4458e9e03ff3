"""What the backend is sent of a handshake, and what its 101 must then be.

Credentials that are not forwarded are erased, fields that only the guard may set are replaced, and of subprotocols it
is offered those that the policy allows; where the client has its 101 already, only what that has promised.
"""

from __future__ import annotations

from wsguard.policy.credentials import erase, without_offers
from wsguard.policy.decision import Admit
from wsguard.policy.extensions import has_bounds, negotiable
from wsguard.policy.forwarding import with_forwarded
from wsguard.policy.handshake_token import shown
from wsguard.policy.identity_headers import strip
from wsguard.policy.subprotocols import unlisted
from wsguard.protocol.extensions import agreed
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.upgrade import (
    Answer,
    BadAnswer,
    check_switch,
    chosen_subprotocol,
    extensions_of,
    protocol_field,
    with_extensions,
)
from wsguard.proxy.attempt import Attempt

CONNECTION_ID = b"X-Wsguard-Connection-ID"
"""The field that tells the backend which connection of the guard's it speaks on."""

_TRACE = frozenset((b"traceparent", b"tracestate"))
_NEGOTIATED = frozenset((b"sec-websocket-protocol", b"sec-websocket-extensions"))


class BrokenPromise(Exception):
    """The backend does not agree to the subprotocol that the client was answered with."""


def outgoing(attempt: Attempt, admit: Admit) -> RequestHead:
    """The request as the backend may see it: credentials erased, spoofed fields gone, the guard's own added."""
    case = attempt.case
    head = erase(attempt.handshake.head, (*attempt.credentials, *shown(attempt.handshake)))
    headers = strip(head.headers, case.policies.identity_header_names)
    headers = _negotiable(attempt, headers)
    headers = with_forwarded(headers, case.effective, attempt.peer, attempt.tls)
    headers = _with_trace(attempt, headers)
    return RequestHead(head.method, head.target, head.version, Headers((*headers.raw, *admit.identity_headers)))


def _with_trace(attempt: Attempt, headers: Headers) -> Headers:
    """By these the application's own log and trace can name the connection as the guard's do."""
    named = (CONNECTION_ID, attempt.id.encode("ascii"))
    if attempt.trace is None:
        return Headers((*headers.raw, named))
    return Headers((*headers.without(_TRACE).raw, *attempt.trace.headers(), named))


def _negotiable(attempt: Attempt, headers: Headers) -> Headers:
    if attempt.is_answered:
        return Headers((*headers.without(_NEGOTIATED).raw, *protocol_field(attempt.promised).raw))
    extensions = negotiable(attempt.handshake, attempt.policy)
    if extensions is not attempt.handshake.extensions:
        headers = with_extensions(headers, extensions)
    if attempt.policy is not None and (names := unlisted(attempt.handshake, attempt.policy)):
        return without_offers(headers, {name.encode("latin-1") for name in names})
    return headers


def check_answer(attempt: Attempt, head: RequestHead, answer: Answer) -> None:
    """Raise BadAnswer or BrokenPromise unless a 101 answers `head`, which the backend was sent."""
    key, chosen = attempt.handshake.key, chosen_subprotocol(answer.headers)
    if not attempt.is_answered:
        check_switch(answer, key, offered(head), extensions_of(head.headers))
        _bounded(answer.headers, attempt, head)
    elif attempt.promised is None:
        check_switch(answer, key, (), None)
    else:
        names = [value.decode("latin-1") for _, value in chosen]
        check_switch(answer, key, names, None)
        if names != [attempt.promised]:
            raise BrokenPromise(f"the client was promised {attempt.promised}, the backend speaks {names or 'none'}")


def offered(head: RequestHead) -> tuple[str, ...]:
    """The subprotocols that the backend was offered: the client's, less those that carried a credential."""
    return tuple(item.decode("latin-1") for item in head.headers.items(b"sec-websocket-protocol"))


def _bounded(headers: Headers, attempt: Attempt, head: RequestHead) -> Headers:
    """The answer's extensions as the client is to read them. Raises BadAnswer."""
    if not has_bounds(attempt.policy):
        return headers
    offer, answer = extensions_of(head.headers), extensions_of(headers)
    if offer is None or answer is None:
        return headers
    try:
        return with_extensions(headers, agreed(answer, offer))
    except ValueError as error:
        raise BadAnswer(str(error)) from None


def for_client(headers: Headers, attempt: Attempt, head: RequestHead) -> Headers:
    """The fields of a 101 that `check_answer` has passed, as the client gets them."""
    return _with_subprotocol(_bounded(headers, attempt, head), attempt, head)


def _with_subprotocol(headers: Headers, attempt: Attempt, head: RequestHead) -> Headers:
    """Where only a credential was offered and it was erased, it is echoed: else a browser fails the handshake."""
    subprotocols = attempt.handshake.subprotocols
    if not subprotocols or chosen_subprotocol(headers) or offered(head):
        return headers
    return Headers((*headers.raw, *protocol_field(subprotocols[0]).raw))
