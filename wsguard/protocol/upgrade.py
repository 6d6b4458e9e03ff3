"""The opening handshake towards the backend: what is sent, and how the answer is read (RFC 6455 §4.1, §4.2.2).

A tunnel opens only behind a 101 whose Upgrade, Connection and Accept are right. Anything else is an answer to be
turned into a close code, or no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wsguard.protocol.handshake import TOKEN, accept_key
from wsguard.protocol.hop_by_hop import HOP_BY_HOP, end_to_end
from wsguard.protocol.http import Headers, RawHeaders, RequestHead

MAX_HEAD = 65_536  # bytes of a backend's answer before its blank line
MAX_INTERIM = 8  # 1xx answers before the final one
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n\0]*)?")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_NOT_ON_A_HANDSHAKE = frozenset((b"content-length", b"expect"))
_NOT_ON_A_101 = HOP_BY_HOP | {b"content-length", b"sec-websocket-accept"}


class BadAnswer(Exception):
    """The backend's answer is not HTTP/1.1, or is a 101 that proves nothing. The sentence says what is wrong."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's final response head, and the bytes that came behind it."""

    status: int
    headers: Headers
    tail: bytes


def upgrade_request(head: RequestHead) -> bytes:
    """The request that the backend gets: `head`, byte for byte, with hop-by-hop fields of the guard's own."""
    headers = end_to_end(head.headers, besides=_NOT_ON_A_HANDSHAKE)
    fields = (*headers.raw, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    return _head(f"GET {head.target} HTTP/1.1".encode("latin-1"), fields)


def switching_protocols(key: bytes, headers: Headers) -> bytes:
    """The 101 for the client: proof of `key`, and whatever else of `headers` is not hop-by-hop."""
    fields = (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_key(key)),
        *headers.without(_NOT_ON_A_101).raw,
    )
    return _head(b"HTTP/1.1 101 Switching Protocols", fields)


def _head(first: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join((first, *(name + b": " + value for name, value in fields), b"", b""))


class AnswerReader:
    """Reads a backend's response head from bytes as they come; interim (1xx) responses are passed over."""

    __slots__ = ("_buffer", "_interim")

    def __init__(self) -> None:
        self._buffer = b""
        self._interim = 0

    def feed(self, data: bytes) -> Answer | None:
        """The final answer once it is whole, else None. Raises BadAnswer."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            status, headers = _read_head(self._buffer[:end])
            self._buffer = self._buffer[end + 4 :]
            if status == 101 or status >= 200:
                return Answer(status, headers, self._buffer)
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadAnswer("too many interim responses")
        if len(self._buffer) > MAX_HEAD:
            raise BadAnswer(f"a response head over {MAX_HEAD} bytes")
        if self._buffer and not b"HTTP/1.".startswith(self._buffer[:7]):
            raise BadAnswer("not HTTP/1")  # said at once: a backend that speaks first never sends a blank line
        return None


def _read_head(block: bytes) -> tuple[int, Headers]:
    first, *lines = block.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise BadAnswer("an unreadable status line")
    return int(status[1]), Headers(tuple(_read_field(line) for line in lines))


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadAnswer("an unreadable header field")
    return name, value


def check_switch(answer: Answer, key: bytes, offered: Sequence[str], extensions: bytes | None) -> None:
    """Raise BadAnswer unless a 101 proves that the backend took part in this handshake (RFC 6455 §4.1)."""
    headers = answer.headers
    if headers.tokens(b"upgrade") != [b"websocket"]:
        raise BadAnswer("a 101 whose Upgrade is not websocket")
    if b"upgrade" not in headers.tokens(b"connection"):
        raise BadAnswer("a 101 whose Connection lacks upgrade")
    if headers.all(b"sec-websocket-accept") != [accept_key(key)]:
        raise BadAnswer("a 101 with a wrong Sec-WebSocket-Accept")
    chosen = headers.all(b"sec-websocket-protocol")
    if len(chosen) > 1 or any(name.decode("latin-1") not in offered for name in chosen):
        raise BadAnswer("a subprotocol that was not offered")
    if not _extension_names(headers.all(b"sec-websocket-extensions")) <= _extension_names([extensions or b""]):
        raise BadAnswer("an extension that was not offered")


def _extension_names(fields: Sequence[bytes]) -> set[bytes]:
    names = (item.partition(b";")[0].strip().lower() for item in b",".join(fields).split(b","))
    return {name for name in names if name}


def extensions_of(headers: Headers) -> bytes | None:
    """The list of extensions that a request offers or an answer names; None: there is no such field."""
    fields = headers.all(b"sec-websocket-extensions")
    return b", ".join(fields) if fields else None


def with_extensions(headers: Headers, extensions: bytes | None) -> Headers:
    """`headers` with this list of extensions in the place of any other; None: with none."""
    rest = headers.without({b"sec-websocket-extensions"})
    return rest if extensions is None else Headers((*rest.raw, (b"Sec-WebSocket-Extensions", extensions)))


def chosen_subprotocol(headers: Headers) -> RawHeaders:
    """The Sec-WebSocket-Protocol field of an answer, as sent, or nothing."""
    return tuple(field for field in headers.raw if field[0].lower() == b"sec-websocket-protocol")


def subprotocol_of(headers: Headers) -> str:
    """The subprotocol that an answer chooses; "" where it chooses none."""
    return (headers.first(b"sec-websocket-protocol") or b"").decode("latin-1")


def protocol_field(subprotocol: str | None) -> Headers:
    """The Sec-WebSocket-Protocol field that names `subprotocol`; no field where that is None."""
    return Headers(() if subprotocol is None else ((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")),))
