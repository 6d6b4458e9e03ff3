"""The scanner takes out the pongs that answer the guard's own pings, wherever they stand, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.limited_scanner import LimitedScanner, Measure
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender

OURS = b"ownownow"
SENDERS = [Sender.CLIENT, Sender.BACKEND]


def frame(sender: Sender, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return wire.frame(opcode, payload, fin=fin, masked=sender is Sender.CLIENT)


def scan(scanner: FrameScanner, data: bytes, chunk: int) -> bytes:
    """As the splice does it."""
    passed = b""
    for start in range(0, len(data), chunk):
        rest: bytes | None = data[start : start + chunk]
        while rest is not None:
            passed += scanner.feed(rest)
            rest = scanner.behind_own_pong() if scanner.halted else None
    return passed


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_our_own_is_taken_out_and_all_others_pass(sender: Sender, chunk: int) -> None:
    scanner = FrameScanner(sender)
    scanner.own_pong, scanner.own_pongs_due = OURS, 100
    ours = frame(sender, wire.PONG, OURS)
    others = [
        frame(sender, wire.TEXT, b"a", fin=False),
        frame(sender, wire.PONG, b"ownownoW"),
        frame(sender, wire.PONG, b""),
        frame(sender, wire.PING, OURS),
        frame(sender, wire.PONG, OURS + b"!"),
        frame(sender, wire.CONTINUATION, OURS),
        frame(sender, wire.BINARY, OURS),
    ]
    stream = ours + b"".join(each + ours for each in others)
    assert scan(scanner, stream, chunk) == b"".join(others)
    assert scanner.own_pongs == len(others) + 1
    assert (scanner.pings, scanner.messages, scanner.is_at_rest, scanner.halted) == (1, 2, True, False)


@pytest.mark.parametrize("sender", SENDERS)
def test_without_a_ping_of_ours_every_pong_passes_at_once(sender: Sender) -> None:
    scanner = FrameScanner(sender)
    pong = frame(sender, wire.PONG, OURS)
    assert scanner.feed(pong[:5]) == pong[:5]
    assert scanner.feed(pong[5:]) == pong[5:]


@pytest.mark.parametrize("sender", SENDERS)
def test_once_it_is_answered_what_says_the_same_passes(sender: Sender) -> None:
    scanner = FrameScanner(sender)
    scanner.own_pong, scanner.own_pongs_due = OURS, 2
    pong = frame(sender, wire.PONG, OURS)
    assert scan(scanner, pong * 10_000, 1_000_000) == pong * 9_998
    assert (scanner.own_pongs, scanner.own_pongs_due) == (2, 0)


@pytest.mark.parametrize("sender", SENDERS)
def test_behind_it_a_close_and_a_violation_are_still_seen(sender: Sender) -> None:
    for end in (frame(sender, wire.CLOSE, b"\x03\xe8"), frame(sender, 3, b"")):
        scanner = FrameScanner(sender)
        scanner.own_pong, scanner.own_pongs_due = OURS, 100
        scan(scanner, frame(sender, wire.PONG, OURS) + end, 1000)
        assert scanner.halted
        assert scanner.behind_own_pong() is None
        assert (scanner.close_code == 1000) is (scanner.violation is None)


def test_unmasked_in_transparent_framing_it_is_still_refused() -> None:
    scanner = FrameScanner(Sender.CLIENT, strict=False)
    scanner.own_pong, scanner.own_pongs_due = OURS, 100
    scanner.feed(wire.frame(wire.PONG, OURS, masked=False))
    assert scanner.violation == "unmasked frame"


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=200).map(lambda data: ("data", data)),
        st.sampled_from([b"", b"ownownoW", b"12345678"]).map(lambda data: ("pong", data)),
        st.binary(max_size=20).map(lambda data: ("ping", data)),
        st.just(("ours", OURS)),
    ),
    max_size=30,
)


@given(st.sampled_from(SENDERS), PIECES, st.lists(st.integers(1, 60), max_size=40))
def test_however_it_is_cut_into_chunks(sender: Sender, pieces: list[tuple[str, bytes]], sizes: list[int]) -> None:
    opcodes = {"data": wire.BINARY, "pong": wire.PONG, "ping": wire.PING, "ours": wire.PONG}
    frames = [(kind, frame(sender, opcodes[kind], payload)) for kind, payload in pieces]
    stream = b"".join(data for _, data in frames)
    scanner = FrameScanner(sender)
    scanner.own_pong, scanner.own_pongs_due = OURS, 100
    passed, at = b"", 0
    for size in [*sizes, len(stream) + 1]:
        chunk = stream[at : at + size]
        passed += scan(scanner, chunk, len(chunk) or 1)
        at += len(chunk)
    assert passed == b"".join(data for kind, data in frames if kind != "ours")
    assert scanner.messages == sum(kind == "data" for kind, _ in frames)
    assert scanner.pings == sum(kind == "ping" for kind, _ in frames)


@given(st.sampled_from([1, 3, 17, 1000]), st.integers(0, 3), st.booleans())
def test_no_limit_counts_them(chunk: int, others: int, counts_octets: bool) -> None:
    """With not a frame, and not a byte, more allowed than what the client sends of its own."""
    measure = Measure(counts_frames=not counts_octets, counts_octets=counts_octets, max_message_size=4)
    scanner = LimitedScanner(Sender.CLIENT, measure)
    scanner.own_pong, scanner.own_pongs_due = OURS, 10
    data, ours = frame(Sender.CLIENT, wire.TEXT, b"abc"), frame(Sender.CLIENT, wire.PONG, OURS)
    if counts_octets:
        scanner.octets = others * len(data) + len(ours)  # as many as must be there to look at one
    else:
        scanner.frames = others
    stream = ours + (data + ours) * others
    assert scan(scanner, stream, chunk) == data * others
    assert scanner.exceeded is None
    assert scanner.own_pongs == others + 1
    if not counts_octets:
        assert scan(scanner, frame(Sender.CLIENT, wire.PONG, b"theirown"), chunk) == b""
        assert scanner.exceeded is CloseReason.MESSAGE_RATE
