"""What goes over the wire, built and read without any of wsguard's own code (RFC 6455, RFC 9112)."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    """One frame as read; `mask` is the key it was masked with, or None. `payload` is unmasked."""

    fin: bool
    rsv: int
    opcode: int
    mask: bytes | None
    payload: bytes

    @property
    def close(self) -> tuple[int, str]:
        """Code and reason of a Close frame; 1005 where it has neither (RFC 6455 §7.1.5)."""
        assert self.opcode == CLOSE, self
        if not self.payload:
            return 1005, ""
        return int.from_bytes(self.payload[:2], "big"), self.payload[2:].decode()


class Head(NamedTuple):
    """The head of a request or a response, split no further than at line ends and the first colon."""

    start: str
    fields: tuple[tuple[str, str], ...]
    raw: bytes

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        """The target of a request."""
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of `name`."""
        return next(iter(self.all(name)), None)

    @property
    def is_upgrade(self) -> bool:
        """True where the request asks for any upgrade."""
        return self.get("upgrade") is not None


def accept(key: str) -> str:
    """Sec-WebSocket-Accept for `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def upgrade(
    path: str = "/ws",
    *,
    host: str = "localhost",
    origin: str | None = None,
    subprotocols: str | None = None,
    extensions: str | None = None,
    fields: Fields = (),
) -> bytes:
    """A correct opening handshake, with `fields` added at its end."""
    lines = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    optional = {
        "Origin": origin,
        "Sec-WebSocket-Protocol": subprotocols,
        "Sec-WebSocket-Extensions": extensions,
    }
    lines += [(name, value) for name, value in optional.items() if value is not None]
    return request("GET", path, [*lines, *fields])


def request(method: str, target: str, fields: Fields, body: bytes = b"") -> bytes:
    """A request head and body, written as given."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def read_head(raw: bytes) -> Head:
    """A head from its bytes, the blank line included or not."""
    start, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(start, tuple((name, value.strip(" \t")) for name, _, value in pairs), raw)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    declared: int | None = None,
) -> bytes:
    """One frame; `declared` is a payload length that differs from the payload's own."""
    length = len(payload) if declared is None else declared
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        head += bytes([masked << 7 | length])
    elif length < 65536:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + apply_mask(key, payload)


def close_frame(code: int, reason: str = "", *, masked: bool = True) -> bytes:
    """A Close frame with `code` and `reason`."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), masked=masked)


def apply_mask(key: bytes, payload: bytes) -> bytes:
    """Mask or unmask (RFC 6455 §5.3)."""
    length = len(payload)
    stream = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


def take_frame(buffer: bytearray) -> Frame | None:
    """Remove the first whole frame from `buffer`; None where there is none yet."""
    if len(buffer) < 2:
        return None
    masked, length, at = buffer[1] >> 7, buffer[1] & 0x7F, 2
    if length >= 126:
        width = 2 if length == 126 else 8
        if len(buffer) < 2 + width:
            return None
        length, at = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
    end = at + 4 * masked + length
    if len(buffer) < end:
        return None
    key = bytes(buffer[at : at + 4]) if masked else None
    payload = bytes(buffer[at + 4 * masked : end])
    first = buffer[0]
    del buffer[:end]
    plain = apply_mask(key, payload) if key else payload
    return Frame(bool(first >> 7), first >> 4 & 7, first & 0xF, key, plain)
