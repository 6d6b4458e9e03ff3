"""The handshake that a browser would send to a URL, built from what a person writes down."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from wsguard.protocol.http import Headers, RequestHead

_URL = re.compile(r"(?P<scheme>wss?|https?)://(?P<authority>[^/?#]+)(?P<target>.*)", re.IGNORECASE)
_CONTROL = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 §1.3: explaining needs no secret nonce


class Url(NamedTuple):
    """A URL taken apart and nothing more: what the guard judges is the spelling."""

    tls: bool
    authority: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ValueError with what was expected."""
        parts = _URL.fullmatch(text)
        if parts is None:
            raise ValueError(f"must be like wss://app.example.com/ws, not {text}")
        target = parts["target"]
        target = target if target.startswith("/") else f"/{target}"
        return cls(parts["scheme"].lower() in ("wss", "https"), parts["authority"], target)


def handshake_to(url: Url, given: Sequence[tuple[str, str]]) -> RequestHead:
    """The request; a field of `given` replaces the usual one of the same name. Raises ValueError."""
    usual = {"Host": url.authority, "Upgrade": "websocket", "Connection": "Upgrade"}
    usual |= {"Sec-WebSocket-Key": _KEY, "Sec-WebSocket-Version": "13"}
    replaced = {name.lower() for name, _ in given}
    fields = [(name, value) for name, value in usual.items() if name.lower() not in replaced]
    raw = tuple((_bytes(name), _bytes(value)) for name, value in (*fields, *given))
    return RequestHead("GET", url.target, (1, 1), Headers(raw))


def request_to(url: Url, method: str, given: Sequence[tuple[str, str]], accept: str | None) -> RequestHead:
    """A request that asks for no WebSocket, such as an EventSource's; otherwise as `handshake_to`."""
    usual = {"Host": url.authority} | ({} if accept is None else {"Accept": accept})
    replaced = {name.lower() for name, _ in given}
    fields = [(name, value) for name, value in usual.items() if name.lower() not in replaced]
    raw = tuple((_bytes(name), _bytes(value)) for name, value in (*fields, *given))
    return RequestHead(method, url.target, (1, 1), Headers(raw))


def _bytes(text: str) -> bytes:
    """As on the wire (the given bytes, unchanged); no line can end inside a field."""
    raw = text.encode("utf-8", "surrogateescape")
    if _CONTROL.search(raw):
        raise ValueError("a header field or a cookie has control characters")
    return raw
