"""Exchanges with an application, and policies that watch them for log-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsguard.policy.effective import Effective
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.model import Metadata, PolicySpec, WebSocketPolicy
from wsguard.protocol.authority import parse_authority
from wsguard.protocol.http import Headers, RequestHead

CLEARED = "session=; Max-Age=0; Path=/"
"""The Set-Cookie of a log-out."""

LOGOUT = {"method": "POST", "path": "/logout"}
"""A request that asks for one, as policies list it."""


def policy(name: str = "chat", hosts: Sequence[str] = (), origin: Any = None, **detection: Any) -> WebSocketPolicy:
    """A policy that watches the cookie `session`; `detection` is what it says of log-outs besides."""
    said: dict[str, Any] = {"session": {"logoutDetection": {"cookies": ["session"], **detection}}}
    if hosts:
        said["match"] = {"hostnames": list(hosts)}
    if origin is not None:
        said["origin"] = {"allowOrigins": origin}
    return WebSocketPolicy(metadata=Metadata(name=name), spec=PolicySpec.model_validate(said))


def exchange(
    *set_cookies: str,
    method: str = "POST",
    target: str = "/logout",
    cookie: str | None = "session=a",
    status: int = 302,
    host: str = "app.example.com",
    scheme: str | None = "https",
    **fields: str,
) -> Exchange:
    """A request with `cookie` and `fields`, and an answer that sets `set_cookies`."""
    sent = [("Host", host)] if cookie is None else [("Host", host), ("Cookie", cookie)]
    sent += [(name.replace("_", "-"), value) for name, value in fields.items()]
    return Exchange(
        RequestHead(method, target, (1, 1), headers(*sent)),
        Effective(None, scheme, parse_authority(host), False),
        status,
        headers(*(("Set-Cookie", text) for text in set_cookies)),
    )


def headers(*fields: tuple[str, str]) -> Headers:
    """These fields, in bytes."""
    return Headers(tuple((name.encode(), value.encode("latin-1")) for name, value in fields))


LISTED = policy(requests=[LOGOUT, {"method": "DELETE", "path": "/a b/session"}])
"""A policy that knows a log-out by its request, too."""
