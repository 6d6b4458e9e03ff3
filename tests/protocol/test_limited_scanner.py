"""The scanner with limits: what goes on is a prefix, it ends where it must, and not otherwise for singly fed bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.streams import SENDERS, chunks, frames
from tests.support import wire
from wsguard.protocol.frame_rules import RSV
from wsguard.protocol.frames import Opcode
from wsguard.protocol.limited_scanner import LIMITS, LimitedScanner, Measure
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender

TEXT = wire.frame(wire.TEXT, b"hello")
PING = wire.frame(wire.PING, b"p")
CLOSE = wire.close_frame(1000)
KIBI = 1024


def limited(
    *, frames: int | None = None, octets: int | None = None, most: int | None = None, types: tuple[Opcode, ...] = ()
) -> LimitedScanner:
    measure = Measure(frames is not None, octets is not None, most, types or None)
    scanner = LimitedScanner(Sender.CLIENT, measure)
    scanner.frames, scanner.octets = frames, octets
    return scanner


def fed(scanner: LimitedScanner, pieces: Iterator[bytes] | list[bytes]) -> tuple[bytes, bytes, CloseReason | None]:
    """What goes on, what is left over, and the limit; nothing is fed behind that."""
    passed, rest = b"", b""
    for piece in pieces:
        if scanner.exceeded is None:
            passed += scanner.feed(piece)
        else:
            rest += piece
    reason = scanner.exceeded
    return passed, scanner.take_rest() + rest, reason


def singly(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@pytest.mark.parametrize("count", range(5))
def test_every_frame_counts_and_a_run_of_them_as_many(count: int) -> None:
    """Also fragments, control frames and bursts of equal frames; a Close never does."""
    stream = [
        wire.frame(wire.TEXT, b"a", fin=False), PING, wire.frame(wire.CONTINUATION, b"b"), TEXT, TEXT, TEXT, TEXT, TEXT
    ]  # fmt: skip
    for pieces in ([b"".join(stream)], stream, singly(b"".join(stream))):
        passed, rest, reason = fed(limited(frames=count), pieces)
        assert (passed, rest) == (b"".join(stream[:count]), b"".join(stream[count:]))
        assert reason is CloseReason.MESSAGE_RATE
    scanner = limited(frames=0)
    assert scanner.feed(CLOSE) == CLOSE
    assert (scanner.close_code, scanner.exceeded) == (1000, None)


def test_messages_are_counted_as_ever() -> None:
    scanner = limited(frames=100, octets=10**6, most=KIBI)
    scanner.feed(TEXT * 40 + PING)
    assert (scanner.messages, scanner.frames, scanner.octets) == (40, 59, 10**6 - 40 * len(TEXT) - len(PING))


@pytest.mark.parametrize("most", [KIBI, 65_535, 65_536, 2**20])
def test_a_frame_may_be_as_long_as_the_limit_and_not_a_byte_longer(most: int) -> None:
    """Nothing of it goes on, whatever it declares."""
    fits, over = wire.frame(wire.BINARY, bytes(most)), wire.frame(wire.BINARY, bytes(most + 1))
    assert limited(most=most).feed(TEXT + fits) == TEXT + fits
    for pieces in ([TEXT + over], [TEXT, over[:20]], singly(TEXT + over[:20])):
        passed, _, reason = fed(limited(most=most), pieces)
        assert (passed, reason) == (TEXT, CloseReason.MESSAGE_TOO_BIG)
    huge = wire.frame(wire.BINARY, declared=2**30)
    assert fed(limited(most=most), singly(huge))[0] == b""


def test_fragments_add_up_and_pings_between_them_do_not() -> None:
    start, more = wire.frame(wire.TEXT, bytes(400), fin=False), wire.frame(wire.CONTINUATION, bytes(600), fin=False)
    last = wire.frame(wire.CONTINUATION, bytes(25))
    good = start + PING * 9 + more + PING
    passed, rest, reason = fed(limited(most=KIBI), [good + last])
    assert (passed, rest, reason) == (good, last, CloseReason.MESSAGE_TOO_BIG)
    scanner = limited(most=KIBI)
    fits = wire.frame(wire.CONTINUATION, bytes(24))
    assert scanner.feed((good + fits) * 3) == (good + fits) * 3
    assert scanner.messages == 3


@pytest.mark.parametrize("allowed", [Opcode.TEXT, Opcode.BINARY])
def test_only_some_types_of_messages(allowed: Opcode) -> None:
    denied = Opcode.BINARY if allowed is Opcode.TEXT else Opcode.TEXT
    whole = wire.frame(allowed, b"x") * 3 + PING
    parts = wire.frame(allowed, b"x", fin=False) + PING + wire.frame(wire.CONTINUATION, b"y")
    for bad in (wire.frame(denied, b"z"), wire.frame(denied, b"z", fin=False), wire.frame(denied, bytes(70_000))):
        passed, rest, reason = fed(limited(types=(allowed,)), [whole + parts + bad])
        assert (passed, rest, reason) == (whole + parts, bad, CloseReason.MESSAGE_TYPE_DENIED)
        passed, _, reason = fed(limited(types=(allowed,)), singly((whole + parts + bad)[:100]))
        assert (passed, reason) == (whole + parts, CloseReason.MESSAGE_TYPE_DENIED)


def test_what_breaks_the_protocol_is_called_that() -> None:
    for bad in (wire.frame(3, b"x"), wire.frame(0, b"x"), wire.frame(wire.TEXT, b"x", rsv=1)):
        scanner = limited(frames=0, most=KIBI, types=(Opcode.BINARY,))
        assert scanner.feed(bad) == b""
        assert (scanner.exceeded, scanner.halted) == (None, True)


def test_without_the_rules_of_framing_no_limit_can_be_talked_round() -> None:
    """Transparent passes what RFC 6455 forbids: it is bounded as well."""
    for bad in (
        wire.frame(11, bytes(KIBI + 1)),
        wire.frame(wire.PING, bytes(KIBI + 1)),
        wire.frame(3, bytes(KIBI + 1)),
        wire.frame(wire.TEXT, bytes(600), fin=False) * 2,
        wire.frame(wire.TEXT, bytes(600), fin=False) + wire.frame(wire.BINARY, bytes(600), fin=False),
    ):
        scanner = LimitedScanner(Sender.CLIENT, Measure(max_message_size=KIBI), strict=False)
        assert len(scanner.feed(bad)) < len(bad)
        assert scanner.exceeded is CloseReason.MESSAGE_TOO_BIG
    for bad in (wire.frame(3, b"x"), wire.frame(wire.CONTINUATION, b"x"), wire.frame(wire.BINARY, b"x", rsv=1)):
        scanner = LimitedScanner(Sender.CLIENT, Measure(types=(Opcode.TEXT,)), strict=False, reserved=RSV)
        assert scanner.feed(TEXT + bad) == TEXT
        assert scanner.exceeded is CloseReason.MESSAGE_TYPE_DENIED
    scanner = LimitedScanner(Sender.CLIENT, Measure(types=(Opcode.TEXT,)), strict=False)
    inside = wire.frame(wire.TEXT, b"x", fin=False) + wire.frame(wire.BINARY, b"y")
    assert scanner.feed(inside) == inside[: -len(wire.frame(wire.BINARY, b"y"))]


def test_bytes_stop_anywhere() -> None:
    stream = TEXT * 3 + wire.frame(wire.BINARY, bytes(300))
    for most in range(0, len(stream), 7):
        scanner = limited(octets=most)
        passed = scanner.feed(stream)
        held = most - len(passed)
        assert stream.startswith(passed)
        assert 0 <= held <= 10, "a header that is not whole"
        assert (scanner.exceeded, scanner.octets) == (CloseReason.BANDWIDTH, 0)
        rest = scanner.take_rest()
        scanner.octets = len(stream)
        assert passed + scanner.feed(rest) == stream
        assert scanner.octets == most


@pytest.mark.parametrize("reason", LIMITS)
def test_a_limit_that_is_spared_is_kept_to_no_more_and_the_others_are(reason: CloseReason) -> None:
    def scanner() -> LimitedScanner:
        return limited(frames=0, octets=5, most=KIBI, types=(Opcode.TEXT,))

    streams = {
        CloseReason.MESSAGE_RATE: PING,
        CloseReason.BANDWIDTH: PING,
        CloseReason.MESSAGE_TOO_BIG: wire.frame(wire.TEXT, declared=KIBI + 1),
        CloseReason.MESSAGE_TYPE_DENIED: wire.frame(wire.BINARY, b"x"),
    }
    for limit, stream in streams.items():
        each = scanner()
        for other in LIMITS:
            if other is not limit:
                each.spare(other)
        each.feed(stream)
        assert each.exceeded is limit
        each.spare(reason)
        each.lift()
        assert each.feed(each.take_rest()) == stream[5 if limit is CloseReason.BANDWIDTH else 0 :] or each.left


@given(
    data=st.data(),
    frames_left=st.none() | st.integers(0, 8),
    octets=st.none() | st.integers(0, 900),
    most=st.none() | st.integers(1, 300),
    types=st.sampled_from([(), (Opcode.TEXT,), (Opcode.BINARY,)]),
)
def test_any_stream_gets_the_same_verdict_whole_and_cut_anywhere(
    data: st.DataObject, frames_left: int | None, octets: int | None, most: int | None, types: tuple[Opcode, ...]
) -> None:
    """Legal streams and any bytes: the same prefix goes on, the same is left over, by the same name."""
    legal = frames(masked=True).map(b"".join)
    stream = data.draw(legal | st.binary(max_size=300) | st.builds(bytes.__add__, legal, st.binary(max_size=40)))
    pieces = chunks(stream, data.draw(st.lists(st.integers(0, 10**6), max_size=8)))
    scanners = [limited(frames=frames_left, octets=octets, most=most, types=types) for _ in range(3)]
    whole, cut, single = (
        fed(scanner, way)
        for scanner, way in zip(
            scanners, ([stream], pieces, singly(stream) if len(stream) < 3000 else pieces), strict=True
        )
    )
    assert whole == cut == single
    states = [(each.left, each.in_message, each.messages, each.violation, each.close_code) for each in scanners]
    assert states[0] == states[1] == states[2]
    assert stream.startswith(whole[0])
    plain = FrameScanner(Sender.CLIENT)
    everything = plain.feed(stream)
    assert everything.startswith(whole[0])
    if whole[2] is None:
        assert (whole[0], scanners[0].violation) == (everything, plain.violation)


@pytest.mark.parametrize(("sender", "masked"), SENDERS.items())
@given(data=st.data())
def test_where_nothing_is_exceeded_it_is_the_scanner(sender: Sender, masked: bool, data: st.DataObject) -> None:
    stream = b"".join(data.draw(frames(masked)))
    scanner = LimitedScanner(sender, Measure(True, True, 2**20, (Opcode.TEXT, Opcode.BINARY)))
    scanner.frames, scanner.octets = 10**6, 10**9
    plain = FrameScanner(sender)
    for piece in chunks(stream, data.draw(st.lists(st.integers(0, 10**6), max_size=8))):
        assert scanner.feed(piece) == plain.feed(piece)
        assert (scanner.left, scanner.in_message, scanner.messages) == (plain.left, plain.in_message, plain.messages)
    assert scanner.exceeded is None
