"""A WebSocket opening handshake, read strictly (RFC 6455 §4.2.1).

Whatever looks like an attempt at a WebSocket is a valid handshake or an HTTP refusal: nothing in between may reach a
backend, where another parser might read it as an upgrade.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from wsguard.protocol.authority import parse_authority
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.target import BadTarget, basic_target_problem, read_path

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """A request that gets a plain HTTP answer and goes nowhere. `why` is a sentence for the log and the body."""

    status: int
    why: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Handshake:
    """A valid opening handshake.

    `origin` is the value of the one Origin field, or None where there is none. `subprotocols` are what the client
    offers, in its order; `extensions` its Sec-WebSocket-Extensions fields joined, or None. `path` is the path,
    percent-decoded, of a target that can be read in one way only.
    """

    head: RequestHead
    path: str
    key: bytes
    origin: bytes | None
    subprotocols: tuple[str, ...]
    extensions: bytes | None


def accept_key(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that proves a server has read `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + ACCEPT_GUID, usedforsecurity=False).digest())


def request_problem(head: RequestHead) -> HttpRefusal | None:
    """What is wrong with a request of any kind: nothing that two HTTP parsers might read differently goes on."""
    if head.version not in ((1, 0), (1, 1)):
        return HttpRefusal(505, "only HTTP/1.0 and HTTP/1.1 are served")
    if head.method in ("CONNECT", "TRACE"):
        return HttpRefusal(405, f"{head.method} is not served")
    if why := basic_target_problem(head.target):
        return HttpRefusal(400, why)
    if why := _framing_problem(head):
        return HttpRefusal(400, why)
    return _host_problem(head.headers)


def _framing_problem(head: RequestHead) -> str | None:
    """Transfer-Encoding other than plain `chunked` on HTTP/1.1 is how requests are smuggled (RFC 9112 §6.1)."""
    codings = head.headers.all(b"transfer-encoding")
    if not codings:
        return None
    if head.version != (1, 1):
        return "Transfer-Encoding on HTTP/1.0"
    if [coding.strip().lower() for coding in codings] != [b"chunked"]:
        return "a Transfer-Encoding other than chunked"
    return "Transfer-Encoding beside Content-Length" if head.headers.all(b"content-length") else None


def _host_problem(headers: Headers) -> HttpRefusal | None:
    hosts = headers.all(b"host")
    if len(hosts) != 1:
        return HttpRefusal(400, "not exactly one Host")
    try:
        parse_authority(hosts[0].decode("latin-1"))
    except ValueError as error:
        return HttpRefusal(400, f"unreadable Host: {error}")
    return None


def is_attempt(head: RequestHead) -> bool:
    """True where the request asks for a WebSocket, or might seem to some backend to do so."""
    return b"websocket" in head.headers.tokens(b"upgrade") or any(
        name.startswith(b"sec-websocket-") for name in head.headers.names
    )


def read_handshake(head: RequestHead) -> Handshake | HttpRefusal:
    """Read an attempt; see `request_problem` for what every request must pass first."""
    if head.method != "GET":
        return HttpRefusal(405, "a WebSocket handshake is a GET", (("Allow", "GET"),))
    if head.version != (1, 1):
        return HttpRefusal(400, "a WebSocket handshake is HTTP/1.1")
    headers = head.headers
    if why := _upgrade_problem(headers):
        return HttpRefusal(426, why, (("Upgrade", "websocket"),))
    if headers.all(b"sec-websocket-version") != [b"13"]:
        return HttpRefusal(426, "Sec-WebSocket-Version is not 13", (("Sec-WebSocket-Version", "13"),))
    if why := _field_problem(headers):
        return HttpRefusal(400, why)
    try:
        path = read_path(head.target)
        subprotocols = _subprotocols(headers)
    except (BadTarget, ValueError) as error:
        return HttpRefusal(400, str(error))
    extensions = headers.all(b"sec-websocket-extensions")
    return Handshake(
        head=head,
        path=path,
        key=headers.first(b"sec-websocket-key") or b"",
        origin=headers.first(b"origin"),
        subprotocols=subprotocols,
        extensions=b", ".join(extensions) if extensions else None,
    )


def _upgrade_problem(headers: Headers) -> str | None:
    if headers.tokens(b"upgrade") != [b"websocket"] or len(headers.all(b"upgrade")) != 1:
        return "Upgrade is not exactly websocket"  # `websocket, h2c`: who speaks what afterwards is anyone's guess
    if b"upgrade" not in headers.tokens(b"connection"):
        return "Connection lacks upgrade"
    return None


def _field_problem(headers: Headers) -> str | None:
    if not set(headers.tokens(b"connection")) <= {b"upgrade", b"keep-alive"}:
        return "Connection names other fields"  # `Connection: upgrade, origin` would have a proxy drop the Origin
    keys = headers.all(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return "Sec-WebSocket-Key is not one base64 value of 16 bytes"
    if len(headers.all(b"origin")) > 1:
        return "more than one Origin"
    if headers.all(b"transfer-encoding") or any(value.strip() != b"0" for value in headers.all(b"content-length")):
        return "a handshake with a body"
    return None


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16 and len(value) == 24
    except binascii.Error:
        return False


def _subprotocols(headers: Headers) -> tuple[str, ...]:
    fields = headers.all(b"sec-websocket-protocol")
    if not fields:
        return ()
    offered = [item.strip(b" \t") for item in b",".join(fields).split(b",")]
    if not all(TOKEN.fullmatch(item) for item in offered):
        raise ValueError("Sec-WebSocket-Protocol is not a list of tokens")
    if len(set(offered)) != len(offered):
        raise ValueError("a subprotocol is offered twice")  # RFC 6455 §4.1 (10)
    return tuple(item.decode("ascii") for item in offered)
