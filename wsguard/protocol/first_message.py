"""Reads the one message that a client sends before anything else may pass (RFC 6455 §5), and touches no byte behind it.

No extension is negotiated then, so that what is on the wire is the message itself, masked. A frame's header is judged
before its payload has come, by the same scanner as everywhere: what breaks the protocol, or will be too long, is known
at once. What is held is at most the message, the headers of its frames, and what came in one piece with its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsguard.protocol.frame_rules import FIN
from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode, apply_mask, control_frame
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender

MAX_FRAGMENTS = 256
"""Frames of one message: their headers are held as well, and they may be empty."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole data message, unmasked. `text` is None where it was binary."""

    text: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there will be no message. The sentence quotes nothing of it."""

    reason: CloseReason
    detail: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The client closed in place of speaking. `reply` is the Close that answers its own (RFC 6455 §5.5.1)."""

    reply: bytes


Outcome = Message | Failure | Closed


@dataclass(frozen=True, slots=True)
class _Header:
    first: int
    size: int
    length: int
    mask: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F


class FirstMessageReader:
    """Is fed what a client sends, until `outcome` is there. `max_size` bounds the message's payload, in bytes.

    Where `sender` is a backend, its frames are not masked, and its Pings are not for who reads this one message.
    """

    __slots__ = (
        "_buffer",
        "_fragments",
        "_frames",
        "_header",
        "_is_text",
        "_max_size",
        "_payload",
        "_scanner",
        "outcome",
    )

    def __init__(self, max_size: int, sender: Sender = Sender.CLIENT) -> None:
        self._max_size = max_size
        self._scanner = FrameScanner(sender)
        self._buffer = bytearray()  # of which nothing is understood yet
        self._header: _Header | None = None  # of the frame that the buffer begins with, once it was judged
        self._frames = bytearray()
        self._payload = bytearray()
        self._fragments = 0
        self._is_text = False
        self.outcome: Outcome | None = None

    def feed(self, data: bytes) -> bytes:
        """Read on; returns the Pong that is due, or nothing. Of several Pings the last is answered (§5.5.3)."""
        self._buffer += data
        pong = b""
        while self.outcome is None:
            header = self._header = self._header or self._next_header()
            if header is None or len(self._buffer) < header.size + header.length:
                break
            pong = self._frame(header) or pong
        return pong

    @property
    def taken(self) -> bytes:
        """The message as it came, so far: whole frames, less those that stood between them."""
        return bytes(self._frames)

    @property
    def rest(self) -> bytes:
        """What came behind that, from the beginning of a frame on."""
        return bytes(self._buffer)

    @property
    def excess(self) -> int:
        """How many bytes `rest` has."""
        return len(self._buffer)

    def _next_header(self) -> _Header | None:
        """The next frame's header, judged; None where it is not whole, or where it ends everything."""
        data = self._buffer
        if len(data) < 2:
            return None
        size, length = 2, data[1] & 0x7F
        if length > MAX_CONTROL_PAYLOAD:
            size = 4 if length == 126 else 10
            length = int.from_bytes(data[2:size], "big")
        masked = size + (4 if data[1] & 0x80 else 0)
        if len(data) < masked:
            return None
        self._scan(bytes(data[:masked]))
        if self.outcome is not None:
            return None
        header = _Header(data[0], masked, length, bytes(data[size:masked]))
        if header.opcode < Opcode.CLOSE:
            self._bound(header)
        return header if self.outcome is None else None

    def _scan(self, data: bytes) -> None:
        self._scanner.feed(data)
        if self._scanner.violation is not None:
            self.outcome = Failure(CloseReason.PROTOCOL_ERROR, f"the first message: {self._scanner.violation}")

    def _bound(self, header: _Header) -> None:
        self._fragments += 1
        if len(self._payload) + header.length > self._max_size:
            what = f"longer than {self._max_size} bytes"
        elif self._fragments > MAX_FRAGMENTS:
            what = f"in more than {MAX_FRAGMENTS} fragments"
        else:
            return
        self.outcome = Failure(CloseReason.MESSAGE_TOO_BIG, f"the first message is {what}")

    def _frame(self, header: _Header) -> bytes:
        """A whole frame; returns the Pong that it asks for."""
        end = header.size + header.length
        frame = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._header = None
        self._scan(frame[header.size :])
        if self.outcome is not None:
            return b""
        payload = apply_mask(frame[header.size :], header.mask)
        if header.opcode == Opcode.PING:
            return control_frame(Opcode.PONG, payload)
        if header.opcode == Opcode.CLOSE:
            self.outcome = Closed(control_frame(Opcode.CLOSE, payload[:2]))
        elif header.opcode < Opcode.CLOSE:
            self._frames += frame
            self._payload += payload
            self._is_text = self._is_text or header.opcode == Opcode.TEXT
            if header.first & FIN:
                self.outcome = Message(bytes(self._payload) if self._is_text else None)
        return b""
