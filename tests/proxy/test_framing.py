"""Every rule that a frame can break, in both directions, through a real splice: said of it before a byte goes on.

The rows are made from RFC 6455, not from the scanner's tables: what a first byte may be, lengths, masks, what a Close
may carry. A row is bytes that stand behind a good message, and whether they are legal there.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import QUICK, tunnel
from tests.support import wire
from tests.support.backend import RecordingBackend
from wsguard.policy.model import Framing, PolicySpec
from wsguard.protocol.frame_rules import reserved_bits

SIDES = ("client", "backend")
LOOPS = ("uvloop",)  # the scanner does not know which it is
GOOD = b"good"
DEFLATE, UNKNOWN = "permessage-deflate", "x-unknown"
EXTENSIONS = (None, DEFLATE, UNKNOWN)


class Row(NamedTuple):
    """`data` behind a good message, where `inside` a fragmented one has begun. `always`: Transparent refuses it too."""

    data: bytes
    is_legal: bool
    inside: bool = False
    always: bool = False


def first_byte_is_legal(fin: bool, rsv: int, opcode: int, inside: bool, extension: str | None) -> bool:
    """RFC 6455 §5.2, §5.4, §5.5, §5.8 and RFC 7692 §6, put down again."""
    is_control = opcode >= 8
    known = opcode in (0, 1, 2, 8, 9, 10)
    if extension == UNKNOWN and (rsv or not known):
        return True
    if not known or (is_control and not fin) or (not is_control and (opcode == 0) is not inside):
        return False
    return rsv == 0 or (rsv == 4 and extension == DEFLATE and opcode in (1, 2))


def rows(side: str, extension: str | None) -> dict[str, Row]:
    """The table for what `side` sends."""
    masked = side == "client"

    def frame(opcode: int, payload: bytes = b"", **how: object) -> bytes:
        return wire.frame(opcode, payload, masked=masked, **how)  # type: ignore[arg-type]

    table = {
        f"fin={fin:d} rsv={rsv} opcode={opcode:x}{' inside' if inside else ''}": Row(
            frame(opcode, b"" if opcode == wire.CLOSE else b"x", fin=fin, rsv=rsv),
            first_byte_is_legal(fin, rsv, opcode, inside, extension),
            inside,
        )
        for fin in (True, False)
        for rsv in ((0, 4, 3) if extension else (0, 1, 2, 4))
        for opcode in range(16)
        for inside in (False, True)
    }
    if extension is None:
        table |= _masks_and_lengths(side) | _closes(side)
    return table


def _masks_and_lengths(side: str) -> dict[str, Row]:
    masked = side == "client"
    bit = 0x80 if masked else 0
    key = bytes(4) if masked else b""

    def long_form(first: int, width: int, length: int) -> bytes:
        head = bytes([first, bit | (126 if width == 2 else 127)]) + length.to_bytes(width, "big")
        return head + key + bytes(min(length, 200))

    return {
        "wrong mask": Row(wire.frame(wire.TEXT, b"x", masked=not masked), False, always=True),
        "wrong mask of a Ping": Row(wire.frame(wire.PING, masked=not masked), False, always=True),
        "wrong mask of a Close": Row(wire.close_frame(1000, masked=not masked), False, always=True),
        "most significant bit of a length": Row(long_form(0x82, 8, 1 << 63), False, always=True),
        "125 in 16 bits": Row(long_form(0x82, 2, 125), False),
        "126 in 16 bits": Row(long_form(0x82, 2, 126), True),
        "65535 in 64 bits": Row(long_form(0x82, 8, 65_535), False),
        "0 in 64 bits": Row(long_form(0x82, 8, 0), False),
        "Ping of 125": Row(wire.frame(wire.PING, bytes(125), masked=masked), True),
        "Ping of 126": Row(long_form(0x89, 2, 126), False),
        "Pong in 64 bits": Row(long_form(0x8A, 8, 1), False),
        "Close of 126": Row(long_form(0x88, 2, 126), False),
    }


def _closes(side: str) -> dict[str, Row]:
    def close(payload: bytes) -> bytes:
        return wire.frame(wire.CLOSE, payload, masked=side == "client")

    sendable = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    others = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 10_000, 65_535)
    codes = {f"Close {code}": Row(close(code.to_bytes(2, "big")), code in sendable) for code in sendable + others}
    reasons = {
        "empty": (b"", True),
        "half a code": (b"\x03", False),
        "UTF-8": (b"\x03\xe8" + "späť ✓ 🎈".encode(), True),
        "123 bytes": (b"\x03\xe8" + b"x" * 123, True),
        "a lone surrogate": (b"\x03\xe8\xed\xa0\x80", False),
        "an overlong form": (b"\x03\xe8\xc0\xaf", False),
        "above U+10FFFF": (b"\x03\xe8\xf4\x90\x80\x80", False),
        "cut in the midst of a character": (b"\x03\xe8" + "✓".encode()[:2], False),
        "a continuation byte alone": (b"\x03\xe8\x80", False),
    }
    return codes | {f"Close with {name}": Row(close(payload), legal) for name, (payload, legal) in reasons.items()}


TABLE = {(side, extension): rows(side, extension) for side in SIDES for extension in EXTENSIONS}


def sent_before(side: str, row: Row) -> bytes:
    """Legal frames, behind which the row's bytes stand."""
    masked = side == "client"
    before = wire.frame(wire.TEXT, GOOD, masked=masked)
    return before + wire.frame(wire.BINARY, b"part", fin=False, masked=masked) if row.inside else before


def check(side: str, extension: str | None, framing: Framing, row: Row, size: int) -> None:
    """In pieces of `size` bytes: they arrive, or in their place the Close that names a protocol error."""
    at = Bench(PolicySpec(framing=framing), reserved=reserved_bits(extension.encode() if extension else None))
    source = at.client if side == "client" else at.backend
    before = sent_before(side, row)
    stream = before + row.data
    for start in range(0, len(stream), size):
        source.arrive(stream[start : start + size])
    passed = at.to_backend if side == "client" else at.to_client
    if row.is_legal or (framing is Framing.TRANSPARENT and not row.always):
        assert passed == stream
        return
    assert passed[: len(before)] == before
    assert (close := wire.take_frame(bytearray(passed[len(before) :]))) is not None
    assert close.close == ((1001 if side == "client" else 1002), "protocol-error")
    other = at.to_client if side == "client" else at.to_backend
    assert (close := wire.take_frame(bytearray(other))) is not None
    assert close.close[1] == "protocol-error"
    for transport in (at.client, at.backend):
        transport.lose(None)
    cause = at.end[0]
    assert (cause.initiator, cause.reason.token, cause.code) == ("guard", "protocol-error", 1002)
    assert cause.detail.startswith(f"{side} sent a")


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize(("side", "extension"), TABLE)
def test_every_row_of_the_table(side: str, extension: str | None, framing: Framing) -> None:
    for name, row in TABLE[side, extension].items():
        for size in (10**6, 1):
            try:
                check(side, extension, framing, row, size)
            except Exception as error:
                raise AssertionError(f"{name}, {size} at a time") from error


def test_the_table_is_as_long_as_it_was_meant() -> None:
    """Both sides, both ways of framing, three extensions; and both verdicts are there in number."""
    lengths = [len(table) for table in TABLE.values()]
    assert sum(lengths) == 1384
    assert 200 < sum(row.is_legal for table in TABLE.values() for row in table.values()) < 1000


@pytest.mark.parametrize("side", SIDES)
async def test_the_same_over_sockets(backend: RecordingBackend, side: str) -> None:
    """What no first byte says: masks, lengths and what a Close carries."""
    for name, row in (_masks_and_lengths(side) | _closes(side)).items():
        async with tunnel(backend, PolicySpec(rejection=QUICK)) as at:
            before = sent_before(side, row)
            await (at.client.send if side == "client" else at.far.send)(before + row.data)
            receive = at.far.frame if side == "client" else at.client.frame
            assert (await receive()).payload == GOOD, name
            if not row.is_legal:
                assert (await receive()).close[1] == "protocol-error", name
            elif row.data[0] & 0x0F == wire.CLOSE:
                assert (await receive()).opcode == wire.CLOSE, name
            at.client.reset()
            at.far.reset()
