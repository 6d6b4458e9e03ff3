"""Where frames begin and end in a stream of bytes that is otherwise not touched (RFC 6455 §5).

The law of this module: a header is judged before its bytes go on, and what went before it is delivered. A header that
is not whole yet is held back (at most 13 bytes), and so is a Close frame (at most 131); everything else goes on as it
came, in the same `bytes` object where possible. A consequence that the splice relies on: whenever `left` is 0, what
has been passed on ends at a frame boundary.
"""

from __future__ import annotations

from enum import Enum, auto

from wsguard.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode, apply_mask

FIN = 0x80
RSV1 = 0x40  # the only reserved bit that permessage-deflate uses, on a message's first frame (RFC 7692 §6)
RSV = 0x70
NO_STATUS = 1005  # RFC 6455 §7.4.1: what a Close without a code stands for; never on the wire


class Sender(Enum):
    """Whose frames are scanned: a client masks every frame, a server none (RFC 6455 §5.1)."""

    CLIENT = auto()
    BACKEND = auto()


# What a frame's first byte says, given whether a fragmented message is under way.
_FORBIDDEN, _CONTROL, _CLOSE, _STARTS, _CONTINUES, _ENDS, _WHOLE = range(7)
_Table = tuple[int, ...]


def _first_byte(byte: int, in_message: bool, strict: bool, reserved: int) -> int:
    opcode, fin = byte & 0x0F, bool(byte & FIN)
    if opcode >= Opcode.CLOSE:
        kind = _CLOSE if opcode == Opcode.CLOSE else _CONTROL
        allowed = fin and opcode <= Opcode.PONG and not byte & RSV
    elif opcode == Opcode.CONTINUATION:
        kind = _ENDS if fin else _CONTINUES
        allowed = in_message and not byte & RSV
    else:
        kind = _WHOLE if fin else _STARTS
        allowed = not in_message and opcode <= Opcode.BINARY and not byte & RSV & ~reserved
    # An extension we do not know may give any meaning to reserved bits and opcodes (RFC 6455 §5.8).
    unknown_extension = reserved == RSV and (byte & RSV or opcode not in Opcode._value2member_map_)
    return kind if allowed or not strict or unknown_extension else _FORBIDDEN


def _tables(strict: bool, reserved: int) -> tuple[_Table, _Table]:
    return (
        tuple(_first_byte(byte, False, strict, reserved) for byte in range(256)),
        tuple(_first_byte(byte, True, strict, reserved) for byte in range(256)),
    )


_TABLES = {(strict, bits): _tables(strict, bits) for strict in (True, False) for bits in (0, RSV1, RSV)}


def reserved_bits(extensions: bytes | None) -> int:
    """Which reserved bits a frame may carry, given the negotiated Sec-WebSocket-Extensions of the 101."""
    names = {item.partition(b";")[0].strip().lower() for item in (extensions or b"").split(b",")} - {b""}
    if not names:
        return 0
    return RSV1 if names == {b"permessage-deflate"} else RSV


class FrameScanner:
    """Follows one direction of one connection, header by header.

    After `feed`, `halted` tells whether the stream is over for the scanner: either `violation` says (in a sentence)
    which rule of RFC 6455 the sender broke, or `close_code` is what its Close frame carried.
    """

    __slots__ = (
        "_continuing",
        "_held",
        "_mask_bit",
        "_open_message",
        "_starting",
        "_strict",
        "close_code",
        "halted",
        "left",
        "messages",
        "violation",
    )

    def __init__(self, sender: Sender, *, strict: bool = True, reserved: int = 0) -> None:
        """`reserved` is what `reserved_bits` found; `strict` False checks nothing but masking and length."""
        self._starting, self._continuing = _TABLES[strict, reserved]
        self._mask_bit = 0x80 if sender is Sender.CLIENT else 0
        self._strict = strict
        self._held = b""
        self._open_message = False
        self.left = 0  # bytes of the current frame that have not come yet
        self.messages = 0  # data messages whose last frame has begun
        self.close_code: int | None = None
        self.violation: str | None = None
        self.halted = False

    @property
    def in_message(self) -> bool:
        """True between the fragments of a data message: no data message may be injected here (RFC 6455 §5.4)."""
        return self._open_message

    def feed(self, data: bytes) -> bytes:  # noqa: C901  (the one loop per frame: a call each step would double its cost)
        """Scan the next bytes; returns those that may go on."""
        if self.halted:
            return b""
        size = len(data)
        position = self.left
        if position >= size:
            self.left = position - size
            return data
        if self._held:
            data = self._held + data
            size = len(data)
            self._held = b""
        table = self._continuing if self._open_message else self._starting
        while position < size:
            kind = table[data[position]]
            if kind == _FORBIDDEN:
                return self._refuse(data, position, self._first_byte_problem(data[position]))
            if size - position < 2:
                return self._hold(data, position)
            second = data[position + 1]
            if second & 0x80 != self._mask_bit:
                return self._refuse(data, position, "masked frame" if second & 0x80 else "unmasked frame")
            length = second & 0x7F
            end = position + 2 + length
            if length > MAX_CONTROL_PAYLOAD:
                long = self._long_length(data, position, size, kind, length)
                if long is None:
                    return self._hold(data, position)
                if long < 0:
                    return self._refuse(data, position, self.violation or "")
                end = position + long
            if self._mask_bit:
                end += 4
            if kind == _WHOLE:
                self.messages += 1
            elif kind == _CLOSE and length <= MAX_CONTROL_PAYLOAD:
                if end > size:
                    return self._hold(data, position)
                self._read_close(data, position + 2, end)
                return data[:end]
            elif kind > _CLOSE:
                self._open_message = kind != _ENDS
                self.messages += kind == _ENDS
                table = self._continuing if self._open_message else self._starting
            position = end
        self.left = position - size
        return data

    def _long_length(self, data: bytes, position: int, size: int, kind: int, length: int) -> int | None:
        """Header and payload of a frame with an extended length; None: more bytes are needed; -1: refused."""
        width = 2 if length == 126 else 8
        if self._strict and kind in (_CONTROL, _CLOSE):
            self.violation = "control frame over 125 bytes"
            return -1
        if size - position < 2 + width:
            return None
        value = int.from_bytes(data[position + 2 : position + 2 + width], "big")
        if value >> 63:
            self.violation = "length with the most significant bit set"
            return -1
        if self._strict and value < (126 if width == 2 else 0x10000):
            self.violation = "length not in its shortest form"  # RFC 6455 §5.2
            return -1
        return 2 + width + value

    def _hold(self, data: bytes, position: int) -> bytes:
        self.left = 0
        self._held = data[position:]
        return data[:position]

    def _refuse(self, data: bytes, position: int, why: str) -> bytes:
        self.left = 0
        self.violation = why
        self.halted = True
        return data[:position]

    def _read_close(self, data: bytes, start: int, end: int) -> None:
        payload = data[start:end]
        if self._mask_bit:
            payload = apply_mask(payload[4:], payload[:4])
        self.left = 0
        self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
        self.halted = True

    def _first_byte_problem(self, byte: int) -> str:
        opcode = byte & 0x0F
        if opcode not in Opcode._value2member_map_:
            return f"reserved opcode {opcode}"
        if byte & RSV and _first_byte(byte & ~RSV, self._open_message, True, 0) != _FORBIDDEN:
            return "reserved bit that no extension negotiated"
        if opcode >= Opcode.CLOSE:
            return "fragmented control frame"
        return "new message inside a fragmented one" if self._open_message else "continuation of no message"
