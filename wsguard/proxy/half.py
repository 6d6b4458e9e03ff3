"""One side of a spliced connection: its transport, and what comes in on it.

The law of the hot path: per chunk there is one scan and one write. Nothing is awaited, no task made, nothing logged.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import IntFlag, auto
from typing import Protocol

from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD
from wsguard.protocol.scanner import FrameScanner

LINGER_0 = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends an RST."""


class Pause(IntFlag):
    """Why a side is not read. It is read again when the last cause is gone."""

    SINK = auto()  # the other side does not keep up
    REST = auto()  # it has come to the end of a message, and waits for the other to do so
    THROTTLE = auto()  # its policy allows no more for now


class HalfOwner(Protocol):
    """Whom a half tells what came in (the splice), and asks for the other half."""

    def other(self, half: Half) -> Half | None:
        """The opposite half, or None."""
        ...

    def touch(self) -> None:
        """A data message, or a part of a long one, has passed."""
        ...

    def halted(self, half: Half) -> None:
        """The scanner of `half` saw a Close, or a violation."""
        ...

    def injected(self, half: Half) -> None:
        """The Close that waited for a boundary of `half` is on its way."""
        ...

    def eof(self, half: Half) -> None:
        """The peer of `half` sent its FIN."""
        ...

    def lost(self, half: Half, exc: Exception | None) -> None:
        """The transport of `half` is gone."""
        ...


class Half(asyncio.Protocol):
    """The client's half or the backend's.

    `sink` is the other half while frames pass, and None when they are discarded. `closing` is a Close frame for the
    *other* side that waits for this side's next frame boundary, where alone it may be injected.
    """

    __slots__ = (
        "bytes_in",
        "closing",
        "eof_received_already",
        "eof_sent",
        "is_client",
        "lost",
        "messages_before",
        "paused",
        "pauses",
        "scanner",
        "sink",
        "splice",
        "transport",
    )

    transport: asyncio.Transport  # set by whoever hands it over: connection_made was somebody else's

    def __init__(self, splice: HalfOwner, scanner: FrameScanner, is_client: bool) -> None:
        self.splice = splice
        self.scanner = scanner
        self.is_client = is_client
        self.sink: Half | None = None
        self.closing: bytes | None = None
        self.bytes_in = 0
        self.messages_before = 0  # it was discarded: what came since is not passed on
        self.paused = False  # this side's outgoing buffer is above the high-water mark
        self.pauses = Pause(0)  # why this side is not read
        self.eof_received_already = False
        self.eof_sent = False
        self.lost = False

    @property
    def messages_in(self) -> int:
        """Whole data messages that were passed on."""
        return self.messages_before if self.sink is None else self.scanner.messages

    def take_back(self, messages: int, size: int) -> None:
        """So many messages and bytes were counted that have gone nowhere after all."""
        self.scanner.messages -= messages
        self.messages_before -= messages
        self.bytes_in -= size

    def begin(self) -> None:
        """Frames pass from now on."""

    @property
    def is_behind(self) -> bool:
        """Whether this side keeps something that is yet to be looked at: what comes next has to wait behind it."""
        return False

    def data_received(self, data: bytes) -> None:
        """Scan, pass on; a Close, a violation or a pending cut is looked at behind it."""
        scanner = self.scanner
        if self.closing is not None:
            self._finish_frame(data)
            return
        messages = scanner.messages
        allowed = scanner.feed(data)
        sink = self.sink
        if sink is not None:
            self.bytes_in += len(allowed)
            if allowed:
                sink.transport.write(allowed)
                if scanner.messages != messages or scanner.in_message or scanner.left > MAX_CONTROL_PAYLOAD:
                    self.splice.touch()
        if scanner.halted:
            self.splice.halted(self)

    def _finish_frame(self, data: bytes) -> None:
        """A cut waits: pass on the rest of the frame under way, no more, then the Close."""
        rest = self.scanner.left
        passed = self.scanner.feed(data[:rest])
        if self.sink is not None:
            self.sink.transport.write(passed)
            self.bytes_in += len(passed)
        if rest <= len(data):
            self.inject()
            self.scanner.feed(data[rest:])
        if self.scanner.halted:
            self.splice.halted(self)

    def inject(self) -> None:
        """At a boundary: write the pending Close to the other side, and discard what comes in from now on."""
        sink, frame = self.sink, self.closing
        self.discard()
        if sink is not None and frame is not None and not sink.lost and not sink.eof_sent:
            sink.transport.write(frame)
        self.splice.injected(self)

    def discard(self) -> None:
        """Pass nothing on any more, but read on: closing over unread input would send an RST (RFC 6455 §7.1.1)."""
        if self.sink is None and self.closing is None and not self.pauses:
            return  # it does so already
        self.messages_before = self.messages_in
        self.sink = self.closing = None
        self.resume()

    def pause_writing(self) -> None:
        """This side does not keep up: stop reading the other."""
        self.paused = True
        other = self.splice.other(self)
        if other is not None and not other.lost and other.sink is self:
            other.pause(Pause.SINK)

    def resume_writing(self) -> None:
        """This side keeps up again."""
        self.paused = False
        other = self.splice.other(self)
        if other is not None:
            other.unpause(Pause.SINK)

    def pause(self, cause: Pause) -> None:
        """Read this side no more, for one more cause."""
        self.pauses |= cause
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def unpause(self, cause: Pause) -> None:
        """A cause is gone; read on where it was the last one."""
        if self.pauses:  # nearly never, and arithmetic with flags is slow
            self.pauses &= ~cause
        if not self.pauses and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()

    def resume(self) -> None:
        """Read on, for whatever cause reading was paused."""
        self.unpause(self.pauses)

    def eof_received(self) -> bool:
        """A FIN: the transport stays open for what is still to be said to this side. Over TLS it ends with it."""
        self.eof_received_already = True
        self.splice.eof(self)
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone. asyncio calls no `resume_writing` then: the other side must be freed here."""
        if self.lost:
            return
        self.lost = True
        self.paused = False
        self.splice.lost(self, exc)

    def hang_up(self) -> None:
        """Send what is queued, then FIN; close both ways once the peer has done the same."""
        if self.lost or self.transport.is_closing():
            return
        if self.eof_received_already or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.end_input()
            self.resume()

    def end_input(self) -> None:
        """Send what is queued, then FIN, such as mirrors the other side's; this side may still speak.

        TLS knows no half of a connection: there it is closed, and the peer learns at once that nobody is there.
        """
        if self.lost or self.eof_sent or self.transport.is_closing():
            return
        self.eof_sent = True
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()  # the peer's RST has come but has not been read; asyncio's own loop raises here

    def abort(self) -> None:
        """Give up: whatever is queued is dropped, the peer sees an RST."""
        if not self.lost:
            reset(self.transport)


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that its peer sees an RST, and takes it for no end that somebody meant."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    transport.abort()
