"""What is wrong about the limits at the door, and what is legal but keeps the honest out."""

from __future__ import annotations

from collections.abc import Iterator

from wsguard.policy.model import Compression, Connections, GuardSpec, Newcomer, WebSocketPolicy
from wsguard.policy.problems import Finding, Severity

_PATH = ("spec", "limits", "connections")
_DEFLATE = "permessage-deflate"
_OF_STRANGERS = ("total", "per_client_ip", "per_origin", "unauthenticated")
_NAMES = {
    "total": "total",
    "per_subject": "perSubject",
    "per_client_ip": "perClientIP",
    "per_origin": "perOrigin",
    "per_session": "perSession",
    "unauthenticated": "unauthenticated",
}


def check_caps(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Caps that count nobody, and such as strangers can use against others."""
    caps = policy.spec.limits.connections
    if caps is not None:
        yield from _check_reach(policy, caps)
        yield from _check_closing(policy, caps)
    yield from _check_extensions(policy)


def _check_reach(policy: WebSocketPolicy, caps: Connections) -> Iterator[Finding]:
    spec = policy.spec
    given = {field: most for field in _NAMES if (most := getattr(caps, field)) is not None}
    if not given:
        yield Finding(_PATH, "expected at least one of " + ", ".join(_NAMES.values()), Severity.ERROR)
    is_anyone_known = bool(spec.providers) or spec.forward_auth is not None
    for field in ("per_subject", "per_session"):
        if field in given and not is_anyone_known:
            message = "counts nobody: the policy has neither jwt nor introspection nor forwardAuth"
            yield Finding((*_PATH, _NAMES[field]), message, Severity.ERROR)
    for field, most in given.items():
        if caps.total is not None and field != "total" and most > caps.total:
            yield Finding((*_PATH, _NAMES[field]), f"never reached: total is {caps.total}")


def _check_closing(policy: WebSocketPolicy, caps: Connections) -> Iterator[Finding]:
    if caps.on_exceed is not Newcomer.CLOSE_OLDEST:
        return
    for field in _OF_STRANGERS:
        if getattr(caps, field) is not None:
            message = f"CloseOldest with {_NAMES[field]}: whoever is let in can close the connections of others"
            yield Finding((*_PATH, "onExceed"), message)
            return


def _check_extensions(policy: WebSocketPolicy) -> Iterator[Finding]:
    limits, path = policy.spec.limits, ("spec", "limits")
    names = [name.lower() for name in limits.extensions]
    is_off = limits.compression is Compression.DENY
    if is_off and _DEFLATE in names:
        where = (*path, "extensions", names.index(_DEFLATE))
        yield Finding(where, f"{_DEFLATE} is listed, and compression is Deny", Severity.ERROR)
    if limits.compression_window_bits is not None and (is_off or (names and _DEFLATE not in names)):
        message = f"without effect: {_DEFLATE} is never negotiated"
        yield Finding((*path, "compressionWindowBits"), message, Severity.ERROR)


def lint_addresses(policy: WebSocketPolicy, guard: GuardSpec) -> Iterator[Finding]:
    """Limits by address where a proxy in front may have everyone's."""
    if guard.client_ip_detection is not None or guard.listener.proxy_protocol:
        return
    limits = policy.spec.limits
    message = "private and loopback peers are not counted: set clientIPDetection or listener.proxyProtocol"
    if limits.connections is not None and limits.connections.per_client_ip is not None:
        yield Finding((*_PATH, "perClientIP"), message)
    if limits.handshakes is not None:
        yield Finding(("spec", "limits", "handshakes", "perClientIP"), message)
