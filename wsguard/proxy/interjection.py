"""A message of the guard's own for the client, between two of the backend's.

Law: it never stands inside a frame or between the fragments of a message (RFC 6455 §5.4). Uncompressed it may stand
beside compressed ones, whose window it leaves alone (RFC 7692 §6). While one waits for its place, the backend's
transport has an `Interjector` for its protocol in place of its half; at any other time no frame comes by here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsguard.proxy.half import Half

MOST_STEPS = 256
"""Pieces that one chunk is taken apart into, in search of the end of a fragmented message."""

Speak = Callable[[], bytes | None]
"""What to say, as a whole frame; None: it has become pointless."""


def interject(backend: Half, speak: Speak) -> None:
    """Let `speak` have its say on the way from `backend` to the client, at the next place between two messages."""
    transport = backend.transport
    if backend.scanner.has_unknown_extension or is_over(backend):
        return
    if _is_between_messages(backend):
        _say(backend, speak)
    elif transport.is_closing():  # or there is none, where the client is held: no message will come that could end
        return
    elif isinstance(waiting := transport.get_protocol(), Interjector):
        waiting.speaks.append(speak)
    elif waiting is backend:
        transport.set_protocol(Interjector(backend, speak))


class Stand(asyncio.Protocol):
    """Takes the place of a half as its transport's protocol; but for the bytes, all goes to the half."""

    def __init__(self, half: Half) -> None:
        self._half = half

    def eof_received(self) -> bool:
        """As the half has it."""
        return self._half.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """As the half has it."""
        self._half.connection_lost(exc)

    def pause_writing(self) -> None:
        """As the half has it."""
        self._half.pause_writing()

    def resume_writing(self) -> None:
        """As the half has it."""
        self._half.resume_writing()


class Interjector(Stand):
    """Stands before the backend's half until the place has come."""

    def __init__(self, half: Half, speak: Speak) -> None:
        super().__init__(half)
        self.speaks = [speak]

    def data_received(self, data: bytes) -> None:
        """Pass on what comes in pieces that end where frames do, until the message under way is over."""
        half = self._half
        data = pass_on(half, data, _is_between_messages)
        if is_over(half):
            half.transport.set_protocol(half)
        elif _is_between_messages(half):
            half.transport.set_protocol(half)
            for speak in self.speaks:
                _say(half, speak)
        if data:
            half.data_received(data)


def pass_on(half: Half, data: bytes, is_there: Callable[[Half], bool]) -> bytes:
    """Give `half` what comes in pieces that end where frames do, until `is_there` or it is over; returns the rest."""
    for _ in range(MOST_STEPS):
        if half.is_behind:
            break  # else the rest would overtake what the half keeps
        if not data or is_over(half) or is_there(half):
            return data
        step = half.scanner.left or 1  # a header is fed byte by byte: only the scanner knows how long it is
        piece, data = data[:step], data[step:]
        half.data_received(piece)
    if data:
        half.data_received(data)
    return b""


def _is_between_messages(half: Half) -> bool:
    """True where whatever the client has been sent ends with a message, and the client takes in more."""
    scanner, client = half.scanner, half.sink
    return not (scanner.left or scanner.in_message or client is None or client.paused)


def is_over(half: Half) -> bool:
    """True where the connection is about to end: nothing is to stand before its Close."""
    return half.sink is None or half.closing is not None or half.scanner.halted


def _say(half: Half, speak: Speak) -> None:
    client, frame = half.sink, speak()
    if client is not None and frame is not None and not client.lost and not client.eof_sent:
        client.transport.write(frame)
