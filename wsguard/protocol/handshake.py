"""A WebSocket opening handshake, read strictly (RFC 6455 §4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.protocol.http import RequestHead


@dataclass(frozen=True, slots=True)
class Handshake:
    """A valid opening handshake.

    `origin` is the value of the one Origin field, or None where there is none. `subprotocols` are what the client
    offers, in its order; `extensions` its Sec-WebSocket-Extensions fields joined, or None.
    """

    head: RequestHead
    key: bytes
    origin: bytes | None
    subprotocols: tuple[str, ...]
    extensions: bytes | None
