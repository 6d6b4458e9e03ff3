"""What is dangerous or idle in `session.logoutDetection`."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.model import GuardSpec, NonWebSocket, WebSocketPolicy
from wsguard.policy.problems import Finding
from wsguard.protocol.http import SAFE_METHODS
from wsguard.protocol.target import is_reserved

_HERE = ("spec", "session", "logoutDetection")


def check_logout_detection(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Cookies that nobody vouches for, and requests that end nothing."""
    detection = policy.spec.session.logout_detection
    if detection is None:
        return
    vouched = set(_vouched(policy))
    for i, name in enumerate(detection.cookies):
        if name not in vouched and "*" not in vouched:
            yield Finding(
                (*_HERE, "cookies", i),
                "nobody vouches for this cookie: no provider reads it, and no forwardAuth is sent `cookie`; who gets "
                "in with an invented value can have it remembered as logged out, until the deny-list is full",
            )
    for i, request in enumerate(detection.requests):
        if request.method in SAFE_METHODS:
            message = f"ends nothing: a {request.method} counts by an answer that clears the cookie, listed or not"
            yield Finding((*_HERE, "requests", i, "method"), message)
        if is_reserved(request.path):
            yield Finding((*_HERE, "requests", i, "path"), "the guard answers this path itself, the application never")


def _vouched(policy: WebSocketPolicy) -> Iterator[str]:
    """The cookies that an admission proves to be good; `*` for the whole jar."""
    for provider in policy.spec.providers:
        yield from (cookie.name for cookie in provider.extract_from.cookies)
    service = policy.spec.forward_auth
    if service is not None and "cookie" in (name.lower() for name in service.headers_to_ext_auth):
        yield "*"


def lint_watching(policy: WebSocketPolicy, guard: GuardSpec) -> Iterator[Finding]:
    """A watch over answers that never pass."""
    if policy.spec.session.logout_detection is not None and guard.non_web_socket is NonWebSocket.DENY:
        yield Finding(_HERE, "sees no log-out: nonWebSocket is Deny, so that only answers to handshakes pass")
