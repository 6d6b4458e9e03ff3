"""WebSocket frames that the guard makes itself (RFC 6455 §5.2, §5.5). What it only forwards is never rebuilt."""

from __future__ import annotations

from enum import IntEnum

MAX_CONTROL_PAYLOAD = 125
"""RFC 6455 §5.5: every control frame's payload is at most this many bytes."""


class Opcode(IntEnum):
    """RFC 6455 §5.2; the values between are reserved."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def control_frame(opcode: Opcode, payload: bytes = b"", mask: bytes | None = None) -> bytes:
    """A whole control frame.

    `mask` is four fresh random bytes for a frame towards a backend (RFC 6455 §5.3) and None for one towards a client.
    Raises ValueError where the payload is over 125 bytes.
    """
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
    first = 0x80 | opcode
    if mask is None:
        return bytes((first, len(payload))) + payload
    return bytes((first, 0x80 | len(payload))) + mask + apply_mask(payload, mask)


def message_frame(text: str) -> bytes:
    """A whole text message, as `data_frame` has it."""
    return data_frame(Opcode.TEXT, text.encode())


def data_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole, uncompressed message in one frame towards a client, whose frames are not masked.

    Raises ValueError where it has 64 KiB or more.
    """
    if len(payload) >= 1 << 16:
        raise ValueError("a message of the guard's own has less than 64 KiB")
    first = 0x80 | opcode
    if len(payload) <= MAX_CONTROL_PAYLOAD:
        return bytes((first, len(payload))) + payload
    return bytes((first, 126)) + len(payload).to_bytes(2, "big") + payload


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a Close frame (RFC 6455 §5.5.1); the reason is cut at a character so that it fits."""
    text = reason.encode()[: MAX_CONTROL_PAYLOAD - 2]
    return code.to_bytes(2, "big") + text.decode(errors="ignore").encode()


def apply_mask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask `data` with the four bytes of `key` (RFC 6455 §5.3)."""
    pad = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(data), "big")
