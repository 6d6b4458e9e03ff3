"""What `streams` makes of the rest of a policy: what would shut people out, and what only WebSockets have."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.first_message import first_message_of
from wsguard.policy.model import PathType, WebSocketPolicy
from wsguard.policy.problems import Finding, Severity
from wsguard.sessions.connection import Stream


def check_streams(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Everything about the `streams` part of `policy`."""
    spec, path = policy.spec, ("spec", "streams")
    if spec.streams == (Stream.WEB_SOCKET,):
        return
    if Stream.LONG_POLLING in spec.streams:
        yield from _check_long_polling(policy, (*path, spec.streams.index(Stream.LONG_POLLING)))
    message = first_message_of(policy)
    if message is not None and Stream.WEB_SOCKET in spec.streams:
        yield Finding(path, "a firstMessage is a WebSocket's: other streams need a credential in another place")
    if Stream.WEB_SOCKET in spec.streams:
        return
    for is_set, where in (
        (message is not None, ("spec",)),
        (spec.migration is not None, ("spec", "migration")),
        (spec.session.expiry_hint is not None, ("spec", "session", "expiryHint")),
        (bool(spec.limits.subprotocols), ("spec", "limits", "subprotocols")),
    ):
        if is_set:
            what = "firstMessage" if where == ("spec",) else where[-1]
            yield Finding(where, f"{what} is of WebSockets, which streams does not list", Severity.ERROR)


def _check_long_polling(policy: WebSocketPolicy, path: tuple[str | int, ...]) -> Iterator[Finding]:
    spec = policy.spec
    prefixes = {each.value for each in spec.match.paths if each.type is PathType.PATH_PREFIX}
    if not spec.match.paths or "/" in prefixes:
        message = "LongPolling is all HTTP on the match, here every path: who goes to a page by a link sends no Origin"
        yield Finding(path, f"{message}, and is refused where he has a cookie")
    token = spec.origin.handshake_token
    if token is not None and token.required:
        yield Finding(path, f"each poll needs a handshake token, and one lasts {token.max_age:g}s")
