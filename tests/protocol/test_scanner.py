"""The scanner against frames built and read by other code: whole, byte by byte, and cut anywhere."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.streams import SENDERS, chunks, frames
from tests.support import wire
from wsguard.protocol.frame_rules import RSV, RSV1, reserved_bits
from wsguard.protocol.scanner import NO_STATUS, FrameScanner, Sender

MAX_HEAD = 10  # bytes of a header that is held back: it goes on once its length is known
MAX_CLOSE = 2 + 4 + 125


@pytest.mark.parametrize(("sender", "masked"), SENDERS.items())
@given(data=st.data())
def test_a_legal_stream_goes_on_untouched_however_it_is_cut(sender: Sender, masked: bool, data: st.DataObject) -> None:
    sent = data.draw(frames(masked))
    stream = b"".join(sent)
    ends = {0, *(len(b"".join(sent[: n + 1])) for n in range(len(sent)))}
    scanner, out = FrameScanner(sender), b""
    for chunk in chunks(stream, data.draw(st.lists(st.integers(0, 10**6), max_size=8))):
        out += scanner.feed(chunk)
        assert stream.startswith(out)
        assert (scanner.left == 0) == (len(out) in ends), "left is 0 exactly at a frame boundary"
    assert out == stream
    assert not scanner.halted
    assert scanner.messages == sum(bool(f[0] & 0x80) and f[0] & 0xF < 8 for f in sent)


@pytest.mark.parametrize(("sender", "masked"), SENDERS.items())
def test_byte_by_byte_at_most_a_header_is_held_back(sender: Sender, masked: bool) -> None:
    stream = b"".join(wire.frame(2, os.urandom(n), masked=masked) for n in (0, 1, 125, 126, 65535, 65536))
    scanner, out = FrameScanner(sender), b""
    for at in range(len(stream)):
        out += scanner.feed(stream[at : at + 1])
        assert at + 1 - len(out) <= MAX_HEAD
    assert out == stream


def test_the_common_case_is_not_copied() -> None:
    frame = wire.frame(wire.TEXT, b"x" * 1000)
    assert FrameScanner(Sender.CLIENT).feed(frame) is frame


@given(
    sizes=st.lists(st.sampled_from((0, 3, 125, 126, 127, 300)), max_size=4),
    repeats=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    break_at=st.integers(0, 30),
    masked=st.booleans(),
)
def test_a_burst_is_scanned_as_its_frames_are(
    sizes: list[int], repeats: list[int], break_at: int, masked: bool
) -> None:
    """Runs of frames with the same header are one step; one odd frame among them must not go under."""
    sender = Sender.CLIENT if masked else Sender.BACKEND
    burst = [
        wire.frame(wire.BINARY, os.urandom(size), masked=masked)
        for size, repeat in zip(sizes, repeats, strict=False)
        for _ in range(repeat)
    ]
    bad = wire.frame(3, b"xyz", masked=masked)
    stream = [*burst[:break_at], bad, *burst[break_at:]]
    scanner = FrameScanner(sender)
    assert scanner.feed(b"".join(stream)) == b"".join(burst[:break_at])
    assert (scanner.messages, scanner.violation) == (len(burst[:break_at]), "reserved opcode 3")
    good = FrameScanner(sender)
    assert good.feed(b"".join(burst)) == b"".join(burst)
    assert (good.messages, good.left, good.halted) == (len(burst), 0, False)


def test_a_frame_of_more_than_4_gib_is_followed_without_being_held() -> None:
    scanner = FrameScanner(Sender.CLIENT)
    head = wire.frame(wire.BINARY, b"", declared=5 * 2**30)
    assert scanner.feed(head) == head
    assert scanner.left == 5 * 2**30
    block = bytes(2**20)
    assert scanner.feed(block) is block
    assert scanner.left == 5 * 2**30 - 2**20


VIOLATIONS = {
    "unmasked client frame": (Sender.CLIENT, wire.frame(1, b"x", masked=False), "unmasked frame"),
    "masked backend frame": (Sender.BACKEND, wire.frame(1, b"x"), "masked frame"),
    "rsv1 without an extension": (Sender.CLIENT, wire.frame(1, b"x", rsv=4), "reserved bit"),
    "rsv3": (Sender.CLIENT, wire.frame(1, b"x", rsv=1), "reserved bit"),
    "reserved data opcode": (Sender.CLIENT, wire.frame(3, b"x"), "reserved opcode 3"),
    "reserved control opcode": (Sender.CLIENT, wire.frame(11, b"x"), "reserved opcode 11"),
    "fragmented ping": (Sender.CLIENT, wire.frame(9, b"x", fin=False), "fragmented control frame"),
    "long ping": (Sender.CLIENT, wire.frame(9, b"x" * 126), "control frame over 125"),
    "long close": (Sender.CLIENT, wire.frame(8, b"x" * 126), "control frame over 125"),
    "close of one byte": (Sender.CLIENT, wire.frame(8, b"\x03"), "half a code"),
    "stray continuation": (Sender.CLIENT, wire.frame(0, b"x"), "continuation of no message"),
    "negative length": (Sender.CLIENT, b"\x82\xff\x80" + bytes(7), "most significant bit"),
    "long form of a short length": (Sender.CLIENT, b"\x82\xfe\x00\x05", "shortest form"),
    "longest form of a short length": (Sender.CLIENT, b"\x82\xff" + (65535).to_bytes(8, "big"), "shortest form"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_stops_the_stream_and_what_went_before_is_delivered(name: str) -> None:
    sender, bad, why = VIOLATIONS[name]
    good = wire.frame(wire.TEXT, b"before", masked=SENDERS[sender])
    for pieces in ([good + bad], [good, bad], [bytes([b]) for b in good + bad]):
        scanner = FrameScanner(sender)
        out = b"".join(scanner.feed(piece) for piece in pieces)
        assert out == good
        assert scanner.halted
        assert scanner.violation is not None
        assert why in scanner.violation
        assert scanner.left == 0
        assert scanner.feed(good) == b""


def test_a_new_message_inside_a_fragmented_one_is_a_violation_but_a_ping_is_not() -> None:
    scanner = FrameScanner(Sender.CLIENT)
    start, ping = wire.frame(1, b"a", fin=False), wire.frame(9, b"p")
    assert scanner.feed(start + ping) == start + ping
    assert scanner.in_message
    assert scanner.feed(wire.frame(1, b"b")) == b""
    assert scanner.violation == "new message inside a fragmented one"


@pytest.mark.parametrize("name", VIOLATIONS)
def test_transparent_passes_everything_but_wrong_masking_and_impossible_lengths(name: str) -> None:
    sender, odd, _ = VIOLATIONS[name]
    scanner = FrameScanner(sender, strict=False)
    passed = scanner.feed(odd)
    if "mask" in name or name == "negative length":
        assert (passed, scanner.halted) == (b"", True)
    else:
        assert (passed, scanner.violation) == (odd, None)


def test_reserved_bits_follow_what_was_negotiated() -> None:
    assert reserved_bits(None) == reserved_bits(b"") == 0
    assert reserved_bits(b"permessage-deflate; client_max_window_bits=12") == RSV1
    assert reserved_bits(b"permessage-deflate, x-odd") == RSV
    compressed = wire.frame(1, b"x", rsv=4)
    assert FrameScanner(Sender.CLIENT, reserved=RSV1).feed(compressed) == compressed
    for odd in (wire.frame(9, b"x", rsv=4), wire.frame(1, b"x", rsv=2)):
        assert FrameScanner(Sender.CLIENT, reserved=RSV1).feed(odd) == b""
        assert FrameScanner(Sender.CLIENT, reserved=RSV).feed(odd) == odd


@pytest.mark.parametrize(("sender", "masked"), SENDERS.items())
def test_a_close_is_held_until_it_is_whole_and_read(sender: Sender, masked: bool) -> None:
    close = wire.frame(wire.CLOSE, (4440).to_bytes(2, "big") + "späť".encode(), masked=masked)
    scanner = FrameScanner(sender)
    out = [scanner.feed(close[at : at + 1]) for at in range(len(close))]
    assert out == [*([b""] * (len(close) - 1)), close]
    assert (scanner.close_code, scanner.halted, scanner.violation) == (4440, True, None)


def test_a_close_without_a_code_and_bytes_behind_a_close() -> None:
    scanner = FrameScanner(Sender.BACKEND)
    close = wire.frame(wire.CLOSE, masked=False)
    assert scanner.feed(close + wire.frame(1, b"late", masked=False)) == close
    assert scanner.close_code == NO_STATUS


@given(sender=st.sampled_from(Sender), strict=st.booleans(), data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_bytes_are_scanned_the_same_whole_and_in_two(sender: Sender, strict: bool, data: bytes, cut: int) -> None:
    whole, halves = FrameScanner(sender, strict=strict), FrameScanner(sender, strict=strict)
    out = whole.feed(data)
    assert halves.feed(data[:cut]) + halves.feed(data[cut:]) == out
    assert data.startswith(out)
    assert len(data) - len(out) <= MAX_CLOSE or whole.halted
    assert (whole.left, whole.messages, whole.halted) == (halves.left, halves.messages, halves.halted)
    assert (whole.violation, whole.close_code) == (halves.violation, halves.close_code)


@pytest.mark.parametrize("size", [3, 200])
@pytest.mark.parametrize(("strict", "first"), [(False, 0x81), (True, 0xA4)])
def test_a_whole_message_that_leniency_lets_into_a_fragmented_one_ends_it(strict: bool, first: int, size: int) -> None:
    """However short it is, and however it is cut: found by the fuzzer, beside a reader frame by frame."""
    start = wire.frame(wire.TEXT, b"a", fin=False)
    odd = bytes((first, *wire.frame(wire.TEXT, bytes(size))[1:]))
    for pieces in ([start + odd], [start, odd], [bytes((byte,)) for byte in start + odd]):
        scanner = FrameScanner(Sender.CLIENT, strict=strict, reserved=RSV if strict else 0)
        assert b"".join(scanner.feed(piece) for piece in pieces) == start + odd
        assert (scanner.in_message, scanner.messages, scanner.is_at_rest) == (False, 1, True)
