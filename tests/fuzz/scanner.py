"""The frame scanner, beside a reader that takes one frame at a time and does nothing clever.

The first byte of an input chooses direction, framing and negotiated bits, the second how the rest is cut into chunks.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.support import wire
from wsguard.protocol.frame_rules import RSV, RSV1
from wsguard.protocol.frames import Opcode
from wsguard.protocol.limited_scanner import LimitedScanner, Measure
from wsguard.protocol.scanner import FrameScanner, Sender

_OPCODES = (0, 1, 2, 8, 9, 10)
_REFUSED, _HELD = -1, 0
MOST_HELD = 131  # bytes: a whole Close of a client less its last byte, and the header is in it

_STREAM = b"".join(
    (
        wire.frame(wire.TEXT, b"hello", fin=False),
        wire.frame(wire.PING, b"in between"),
        wire.frame(wire.CONTINUATION, b"world"),
        wire.frame(wire.BINARY, bytes(300)),
        wire.frame(wire.CLOSE, b"\x03\xe8bye"),
    )
)
SEEDS = [
    bytes((choice, cut)) + stream
    for choice in (0, 1, 2, 5, 8)
    for cut in (0, 1, 7)
    for stream in (_STREAM, wire.frame(wire.BINARY, b"abc") * 9, wire.frame(wire.BINARY, bytes(200)) * 3)
] + [b"\x04\x00" + wire.frame(wire.TEXT, b"tick", masked=False) * 5 + wire.frame(wire.CLOSE, b"", masked=False)]


class Read(NamedTuple):
    """What became of a stream."""

    passed: int  # bytes that may go on
    messages: int
    is_refused: bool
    close_code: int | None


def check(data: bytes) -> None:
    """Whole, in chunks and by the slow reader: the same bytes go on, for the same reasons."""
    if len(data) < 2:
        return
    choice, cut, stream = data[0], data[1], data[2:]
    sender = Sender.BACKEND if choice & 4 else Sender.CLIENT
    strict, reserved = not choice & 8, (0, RSV1, RSV, 0)[choice & 3]

    whole = FrameScanner(sender, strict=strict, reserved=reserved)
    passed = whole.feed(stream)
    assert stream.startswith(passed)
    assert whole.halted or len(stream) - len(passed) <= MOST_HELD
    assert len(whole.violation or "") < 100, "a sentence quotes nothing of what came"

    chunked, out = FrameScanner(sender, strict=strict, reserved=reserved), b""
    size = cut or 1
    for at in range(0, len(stream), size):
        out += chunked.feed(stream[at : at + size])
    assert out == passed
    seen, again = _state(whole), _state(chunked)
    assert seen == again, (seen, again)

    expected = _slowly(stream, sender is Sender.CLIENT, strict, reserved)
    assert Read(len(passed), whole.messages, whole.violation is not None, whole.close_code) == expected
    _check_limited(choice, cut, stream, passed)


def _check_limited(choice: int, cut: int, stream: bytes, passed: bytes) -> None:
    """With limits: whole and in chunks the same goes on, and is no more than goes on without."""
    measure = Measure(True, True, 1 + cut, (Opcode.TEXT,) if choice & 16 else None)
    sender = Sender.BACKEND if choice & 4 else Sender.CLIENT
    outcomes = []
    for size in (len(stream) or 1, cut or 1):
        scanner = LimitedScanner(sender, measure, strict=not choice & 8, reserved=(0, RSV1, RSV, 0)[choice & 3])
        scanner.frames, scanner.octets = choice >> 5, 40 * (1 + cut % 16)
        out = rest = b""
        for at in range(0, len(stream), size):
            if scanner.exceeded is None:
                out += scanner.feed(stream[at : at + size])
            else:
                rest += stream[at : at + size]
        exceeded = scanner.exceeded
        outcomes.append((out, exceeded, scanner.take_rest() + rest if exceeded else b"", _state(scanner)))
    assert outcomes[0] == outcomes[1]
    assert passed.startswith(outcomes[0][0])


def _state(scanner: FrameScanner) -> tuple[object, ...]:
    return (
        scanner.halted,
        scanner.violation,
        scanner.close_code,
        scanner.messages,
        scanner.left,
        scanner.in_message,
        scanner.is_at_rest,
    )


def _slowly(stream: bytes, masked: bool, strict: bool, reserved: int) -> Read:
    """RFC 6455 §5.2, §5.4 and §5.5, frame by frame; what is forbidden is looked for before what is missing."""
    at, messages, in_message = 0, 0, False
    while at < len(stream):
        first = stream[at]
        opcode, fin = first & 0xF, bool(first & 0x80)
        if strict and _is_forbidden(first, in_message, reserved):
            return Read(at, messages, True, None)
        head, length = _extent(stream[at:], masked, strict, is_control=opcode >= 8)
        if head <= 0:
            return Read(at, messages, head == _REFUSED, None)
        body = at + head + 4 * masked
        end = body + length
        if opcode == 8 and length <= 125:
            if end > len(stream):
                return Read(at, messages, False, None)
            payload = wire.apply_mask(stream[body - 4 : body], stream[body:end]) if masked else stream[body:end]
            if strict and not first & RSV and _is_bad_close(payload):
                return Read(at, messages, True, None)
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            return Read(end, messages, False, code)
        if opcode < 8:
            messages += fin
            in_message = not fin
        at = end
    return Read(len(stream), messages, False, None)


def _is_forbidden(first: int, in_message: bool, reserved: int) -> bool:
    opcode, rsv = first & 0xF, first & RSV
    if reserved == RSV and (rsv or opcode not in _OPCODES):
        return False
    if opcode not in _OPCODES or rsv & ~(reserved if opcode in (1, 2) else 0):
        return True
    if opcode >= 8:
        return not first & 0x80
    return in_message is not (opcode == 0)


def _extent(frame: bytes, masked: bool, strict: bool, is_control: bool) -> tuple[int, int]:
    """Bytes before the masking key, and of the payload; or _REFUSED or _HELD, and 0."""
    if len(frame) < 2:
        return _HELD, 0
    if bool(frame[1] & 0x80) != masked:
        return _REFUSED, 0
    length, head = frame[1] & 0x7F, 2
    if length > 125:
        if strict and is_control:
            return _REFUSED, 0
        head = 4 if length == 126 else 10
        if len(frame) < head:
            return _HELD, 0
        length = int.from_bytes(frame[2:head], "big")
        is_longer_than_needed = length < (126 if head == 4 else 1 << 16)
        if length >= 1 << 63 or (strict and is_longer_than_needed):
            return _REFUSED, 0
    return head, length


def _is_bad_close(payload: bytes) -> bool:
    if not payload:
        return False
    code, why = int.from_bytes(payload[:2], "big"), payload[2:]
    registered = code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)
    is_text = why.decode("utf-8", "replace").encode() == why  # a character that stands for a fault is one itself
    return len(payload) == 1 or not (registered or 3000 <= code < 5000) or not is_text
