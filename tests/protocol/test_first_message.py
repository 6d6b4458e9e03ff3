"""One message, read from frames that other code has built: however they are cut, whatever stands between and behind."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wire
from wsguard.protocol.first_message import MAX_FRAGMENTS, Closed, Failure, FirstMessageReader, Message
from wsguard.protocol.reasons import CloseReason

MAX = 200


def read(data: bytes, *, max_size: int = MAX) -> tuple[FirstMessageReader, bytes]:
    """A reader that was fed `data` whole, and the Pongs that it made."""
    reader = FirstMessageReader(max_size)
    return reader, reader.feed(data)


def failure(data: bytes) -> tuple[CloseReason, str]:
    """What became of `data`, which is the same byte by byte."""
    whole, _ = read(data)
    bytewise = FirstMessageReader(MAX)
    for at in range(len(data)):
        bytewise.feed(data[at : at + 1])
    assert isinstance(whole.outcome, Failure)
    assert whole.outcome == bytewise.outcome
    assert (whole.taken, whole.rest) == (bytewise.taken, bytewise.rest)
    return whole.outcome.reason, whole.outcome.detail


@st.composite
def conversations(draw: st.DrawFn) -> tuple[int, list[bytes], bytes, bytes]:
    """Opcode, fragments, all frames of them with control frames between, and what follows."""
    opcode = draw(st.sampled_from((wire.TEXT, wire.BINARY)))
    parts = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    control = st.builds(wire.frame, st.sampled_from((9, 10)), st.binary(max_size=125))
    stream = b""
    for at, part in enumerate(parts):
        stream += b"".join(draw(st.lists(control, max_size=2)))
        stream += wire.frame(wire.CONTINUATION if at else opcode, part, fin=at == len(parts) - 1)
    return opcode, parts, stream, draw(st.binary(max_size=60))


@given(conversations(), st.lists(st.integers(0, 10_000), max_size=8))
def test_however_it_is_cut(said: tuple[int, list[bytes], bytes, bytes], cuts: list[int]) -> None:
    """The message is joined and unmasked; its frames are kept as they came, and what is behind it is not looked at."""
    opcode, parts, stream, behind = said
    data = stream + behind
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    reader, pongs = FirstMessageReader(MAX), b""
    for a, b in itertools.pairwise(places):
        pongs += reader.feed(data[a:b])
        assert (reader.outcome is not None) == (b >= len(stream))
    assert reader.outcome == Message(b"".join(parts) if opcode == wire.TEXT else None)
    assert reader.rest == behind
    assert reader.excess == len(behind)
    sent = [frame for frame in frames_of(stream) if frame.opcode in (wire.TEXT, wire.BINARY, wire.CONTINUATION)]
    assert frames_of(reader.taken) == sent
    pings = [frame.payload for frame in frames_of(stream) if frame.opcode == wire.PING]
    answered = [frame.payload for frame in frames_of(pongs)]
    assert all(frame.opcode == wire.PONG and frame.mask is None for frame in frames_of(pongs))
    assert is_subsequence(answered, pings)
    assert answered[-1:] == pings[-1:], "the last is always answered"


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_whatever_is_sent_memory_is_bounded_and_nothing_raises(chunks: list[bytes]) -> None:
    """Nothing is lost, either, but control frames; what is no outcome yet is shorter than the message may be."""
    reader = FirstMessageReader(MAX)
    for chunk in chunks:
        if reader.outcome is not None:
            break
        reader.feed(chunk)
        if reader.outcome is None:
            assert reader.excess < MAX + 14
            assert len(reader.taken) <= MAX + 14 * MAX_FRAGMENTS


def test_of_several_pings_in_one_piece_the_last_is_answered() -> None:
    reader, pong = read(b"".join(wire.frame(wire.PING, b"%d" % number) for number in range(1000)))
    assert pong == wire.frame(wire.PONG, b"999", masked=False)
    assert reader.outcome is None
    assert not reader.excess


@pytest.mark.parametrize("size", [0, 125, 126, MAX])
def test_up_to_the_bound(size: int) -> None:
    reader, _ = read(wire.frame(wire.TEXT, b"x" * size))
    assert reader.outcome == Message(b"x" * size)


def test_a_long_message_where_the_bound_allows_it() -> None:
    reader, _ = read(wire.frame(wire.TEXT, b"x" * 65_536), max_size=65_536)
    assert reader.outcome == Message(b"x" * 65_536)


@pytest.mark.parametrize(
    "data",
    [
        wire.frame(wire.TEXT, b"", declared=MAX + 1),
        wire.frame(wire.BINARY, b"", declared=1 << 62),
        wire.frame(wire.TEXT, b"x" * MAX, fin=False) + wire.frame(wire.CONTINUATION, b"", declared=1),
        wire.frame(wire.TEXT, fin=False) + wire.frame(wire.CONTINUATION, fin=False) * MAX_FRAGMENTS,
    ],
    ids=["by one", "by far", "in fragments", "too many fragments"],
)
def test_beyond_the_bound(data: bytes) -> None:
    """Said at the header that goes too far, before its payload has come."""
    reason, detail = failure(data)
    assert reason is CloseReason.MESSAGE_TOO_BIG
    assert "the first message is" in detail


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (wire.frame(wire.TEXT, b"x", masked=False), "unmasked frame"),
        (wire.frame(wire.TEXT, b"x", rsv=4), "reserved bit"),
        (wire.frame(3, b"x"), "reserved opcode"),
        (wire.frame(wire.CONTINUATION, b"x"), "continuation of no message"),
        (wire.frame(wire.TEXT, b"x", fin=False) + wire.frame(wire.TEXT, b"y"), "new message inside"),
        (wire.frame(wire.PING, b"x" * 126), "over 125 bytes"),
        (wire.frame(wire.PING, b"x", fin=False), "fragmented control frame"),
        (wire.frame(wire.CLOSE, b"x"), "half a code"),
        (b"\x81\xfe\x00\x01" + bytes(5), "shortest form"),
        (b"\x81\xff" + b"\xff" * 8 + bytes(4), "most significant bit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "frames",  # which are masked anew in every worker
)
def test_what_breaks_the_protocol(data: bytes, why: str) -> None:
    reason, detail = failure(data)
    assert reason is CloseReason.PROTOCOL_ERROR
    assert why in detail


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (wire.close_frame(1000, "bye"), wire.close_frame(1000, masked=False)),
        (wire.close_frame(4999), wire.close_frame(4999, masked=False)),
        (wire.frame(wire.CLOSE), wire.frame(wire.CLOSE, masked=False)),
    ],
    ids=["with a reason", "with a code", "empty"],
)
def test_a_close_is_answered_with_its_own_code(sent: bytes, reply: bytes) -> None:
    reader, pong = read(wire.frame(wire.TEXT, b"half", fin=False) + sent)
    assert reader.outcome == Closed(reply)
    assert pong == b""


def test_a_message_is_in_no_repr() -> None:
    assert "secret" not in repr(Message(b"secret"))


def frames_of(data: bytes) -> list[wire.Frame]:
    buffer, found = bytearray(data), []
    while frame := wire.take_frame(buffer):
        found.append(frame)
    return found


def is_subsequence(some: list[bytes], of: list[bytes]) -> bool:
    rest = iter(of)
    return all(each in rest for each in some)
