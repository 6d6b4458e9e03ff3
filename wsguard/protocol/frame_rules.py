"""What a frame may be (RFC 6455 §5.2, §5.4, §5.5), as tables that a scanner looks a frame's first two bytes up in."""

from __future__ import annotations

from wsguard.protocol.frames import Opcode
from wsguard.protocol.reasons import is_sendable

FIN = 0x80
RSV1 = 0x40  # the only reserved bit that permessage-deflate uses, on a message's first frame (RFC 7692 §6)
RSV = 0x70

# What a frame's first byte says, given whether a fragmented message is under way.
FORBIDDEN, CONTROL, CLOSE, STARTS, CONTINUES, ENDS, WHOLE = range(7)
Table = tuple[int, ...]


def _first_byte(byte: int, in_message: bool, strict: bool, reserved: int) -> int:
    opcode, fin = byte & 0x0F, bool(byte & FIN)
    if opcode >= Opcode.CLOSE:
        kind = CLOSE if opcode == Opcode.CLOSE else CONTROL
        allowed = fin and opcode <= Opcode.PONG and not byte & RSV
    elif opcode == Opcode.CONTINUATION:
        kind = ENDS if fin else CONTINUES
        allowed = in_message and not byte & RSV
    else:
        # Inside a fragmented message only leniency lets it pass: it is looked at closely, since it ends that message.
        kind = (ENDS if in_message else WHOLE) if fin else STARTS
        allowed = not in_message and opcode <= Opcode.BINARY and not byte & RSV & ~reserved
    # An extension we do not know may give any meaning to reserved bits and opcodes (RFC 6455 §5.8).
    unknown_extension = reserved == RSV and (byte & RSV or opcode not in Opcode._value2member_map_)
    return kind if allowed or not strict or unknown_extension else FORBIDDEN


def _tables(strict: bool, reserved: int) -> tuple[Table, Table]:
    return (
        tuple(_first_byte(byte, False, strict, reserved) for byte in range(256)),
        tuple(_first_byte(byte, True, strict, reserved) for byte in range(256)),
    )


TABLES = {(strict, bits): _tables(strict, bits) for strict in (True, False) for bits in (0, RSV1, RSV)}

# What a frame's second byte says: how many bytes the frame has if it is short, else to look closer.
CLOSER, MEDIUM = 0, -1


def _second_byte(byte: int, mask_bit: int) -> int:
    length = byte & 0x7F
    if byte & 0x80 != mask_bit or length == 127:
        return CLOSER
    return MEDIUM if length == 126 else 2 + length + (4 if mask_bit else 0)


SIZES = {mask_bit: tuple(_second_byte(byte, mask_bit) for byte in range(256)) for mask_bit in (0, 0x80)}


def reserved_bits(extensions: bytes | None) -> int:
    """Which reserved bits a frame may carry, given the negotiated Sec-WebSocket-Extensions of the 101."""
    names = {item.partition(b";")[0].strip().lower() for item in (extensions or b"").split(b",")} - {b""}
    if not names:
        return 0
    return RSV1 if names == {b"permessage-deflate"} else RSV


def close_problem(payload: bytes) -> str | None:
    """What is wrong with a Close frame's unmasked `payload` (RFC 6455 §5.5.1 and §7.4)."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1:
        return "Close with half a code"
    if not is_sendable(code):
        return f"Close with the code {code}, which none may carry"
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return "Close whose reason is not UTF-8"
    return None


def first_byte_problem(byte: int, in_message: bool) -> str:
    """Which rule a frame's first byte breaks, where the tables forbid it."""
    opcode = byte & 0x0F
    if opcode not in Opcode._value2member_map_:
        return f"reserved opcode {opcode}"
    if byte & RSV and _first_byte(byte & ~RSV, in_message, True, 0) != FORBIDDEN:
        return "reserved bit that no extension negotiated"
    if opcode >= Opcode.CLOSE:
        return "fragmented control frame"
    return "new message inside a fragmented one" if in_message else "continuation of no message"
