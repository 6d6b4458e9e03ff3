"""A message of the guard's own between two of the backend's: where it may stand, and that nothing else changes."""

from __future__ import annotations

import zlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from wsguard.protocol.frames import message_frame
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.proxy import interjection
from wsguard.proxy.half import Half
from wsguard.proxy.interjection import Interjector

HINT = '{"type":"session-expiring"}'
FRAME = message_frame(HINT)
SAID = wire.frame(wire.TEXT, HINT.encode(), masked=False)
OTHER = message_frame('{"type":"reconnect"}')


def frame(opcode: int, payload: bytes = b"x", *, fin: bool = True, rsv: int = 0) -> bytes:
    return wire.frame(opcode, payload, fin=fin, rsv=rsv, masked=False)


MESSAGE = frame(wire.TEXT, b"hello")
FRAGMENTS = [
    frame(wire.TEXT, b"a" * 200, fin=False),
    frame(wire.PING, b"p"),
    frame(wire.CONTINUATION, b"", fin=False),
    frame(wire.CONTINUATION, b"b" * 300),
]


def test_it_is_an_unmasked_text_message() -> None:
    assert FRAME == SAID
    for size in (1, 125, 126, 4096, 65_535):
        assert message_frame("x" * size) == frame(wire.TEXT, b"x" * size)
    with pytest.raises(ValueError, match="64 KiB"):
        message_frame("x" * 65_536)


def test_a_header_that_is_held_back_belongs_to_what_comes_after() -> None:
    bench = Bench()
    bench.backend.arrive(FRAGMENTS[0][:3])
    bench.splice.interject(lambda: FRAME)
    bench.backend.arrive(FRAGMENTS[0][3:])
    assert bench.to_client == SAID + FRAGMENTS[0]


def test_between_messages_it_is_said_at_once() -> None:
    bench = Bench()
    bench.backend.arrive(MESSAGE)
    bench.splice.interject(lambda: FRAME)
    assert bench.to_client == MESSAGE + SAID
    assert isinstance(bench.backend.half, Half)
    bench.backend.arrive(MESSAGE)
    assert bench.to_client == MESSAGE + SAID + MESSAGE
    assert bench.splice.traffic().messages_from_backend == 2


@pytest.mark.parametrize("at", range(10, sum(map(len, FRAGMENTS)), 41))
@pytest.mark.parametrize("chunk", [1, 1000, 10**6])
def test_it_waits_for_the_end_of_a_fragmented_message(at: int, chunk: int) -> None:
    bench, stream = Bench(), b"".join(FRAGMENTS)
    bench.backend.arrive(stream[:at])
    bench.splice.interject(lambda: FRAME)
    bench.splice.interject(lambda: OTHER)
    rest = stream[at:] + MESSAGE
    for start in range(0, len(rest), chunk):
        bench.backend.arrive(rest[start : start + chunk])
    assert bench.to_client == stream + SAID + OTHER + MESSAGE
    assert isinstance(bench.backend.half, Half)


MESSAGES = st.lists(
    st.lists(st.binary(max_size=140), min_size=1, max_size=4).map(
        lambda parts: b"".join(
            frame(wire.BINARY if number == 0 else wire.CONTINUATION, part, fin=number == len(parts) - 1)
            + (frame(wire.PING, part[:100]) if len(part) % 3 == 0 else b"")
            for number, part in enumerate(parts)
        )
    ),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, st.lists(st.integers(1, 200), max_size=40), st.integers(0, 20))
def test_wherever_it_comes_the_stream_stays_a_stream(messages: list[bytes], sizes: list[int], when: int) -> None:
    """One more message, between two others; and it is said if a place for it comes."""
    bench, stream, at = Bench(), b"".join(messages), 0
    for number, size in enumerate([*sizes, len(stream)]):
        if number == when:
            bench.splice.interject(lambda: FRAME)
        if at < len(stream):
            bench.backend.arrive(stream[at : at + size])
            at += size
    told = bench.to_client
    place = told.find(SAID)
    assert (place >= 0) is (when <= len(sizes))
    if place >= 0:
        before, after = told[:place], told[place + len(SAID) :]
        assert before + after == stream
        scanner = FrameScanner(Sender.BACKEND)
        assert scanner.feed(before) == before
        assert (scanner.left, scanner.in_message) == (0, False)


def test_a_message_without_end_is_not_taken_apart_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interjection, "MOST_STEPS", 8)
    bench = Bench()
    bench.backend.arrive(frame(wire.TEXT, fin=False))
    bench.splice.interject(lambda: FRAME)
    endless = frame(wire.CONTINUATION, b"y", fin=False) * 1000
    bench.backend.arrive(endless)
    assert bench.to_client.endswith(endless)
    bench.backend.arrive(frame(wire.CONTINUATION, b"z"))
    assert bench.to_client.endswith(SAID)


def test_it_is_asked_for_where_it_stands_and_may_have_become_pointless() -> None:
    bench = Bench()
    bench.backend.arrive(FRAGMENTS[0])
    words: list[bytes | None] = [FRAME]
    bench.splice.interject(lambda: words[0])
    words[0] = None
    rest = b"".join(FRAGMENTS[1:]) + MESSAGE
    bench.backend.arrive(rest)
    assert bench.to_client == FRAGMENTS[0] + rest
    assert isinstance(bench.backend.half, Half)


def test_a_client_that_does_not_read_is_not_told_until_it_does() -> None:
    bench = Bench()
    bench.client.stalled = True
    bench.backend.arrive(MESSAGE * 20)
    assert bench.client.half.paused
    bench.splice.interject(lambda: FRAME)
    assert bench.to_client == MESSAGE * 20
    bench.client.unstall()
    bench.backend.arrive(MESSAGE)
    assert bench.to_client == MESSAGE * 20 + SAID + MESSAGE


def test_nothing_stands_before_a_close() -> None:
    bench = Bench()
    bench.backend.arrive(FRAGMENTS[0])
    bench.splice.interject(lambda: FRAME)
    bench.splice.cut(CloseReason.LOGGED_OUT)
    bench.backend.arrive(b"".join(FRAGMENTS[1:]))
    assert SAID not in bench.to_client
    assert bench.to_client.endswith(b"logged-out")
    closed = Bench()
    closed.splice.cut(CloseReason.LOGGED_OUT)
    closed.splice.interject(lambda: FRAME)
    assert SAID not in closed.to_client


@pytest.mark.parametrize("end", ["fin", "lose", "close"])
def test_while_it_waits_the_backend_may_end_as_ever(end: str) -> None:
    bench = Bench()
    bench.backend.arrive(FRAGMENTS[0])
    bench.splice.interject(lambda: FRAME)
    assert isinstance(cast("Any", bench.backend.half), Interjector)
    match end:
        case "fin":
            bench.backend.fin()
        case "lose":
            bench.backend.lose(None)
        case "close":
            bench.backend.arrive(frame(wire.CLOSE, b"\x03\xe8"))
    assert SAID not in bench.to_client
    assert bench.splice.state != "open"


def test_pauses_reach_the_half_while_it_waits() -> None:
    bench = Bench()
    bench.backend.arrive(FRAGMENTS[0])
    bench.splice.interject(lambda: FRAME)
    bench.backend.stalled = True
    bench.client.arrive(wire.frame(wire.TEXT, b"x" * 200))
    assert not bench.client.reading
    bench.backend.unstall()
    assert bench.client.reading


async def test_beside_compressed_messages_and_an_extension_that_nobody_knows(backend: RecordingBackend) -> None:
    """A client inflates what came before and after it with one window."""
    deflate = zlib.compressobj(wbits=-15)
    inflate = zlib.decompressobj(wbits=-15)

    def compressed(text: bytes) -> bytes:
        return (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]

    backend.answer = answers.accept(extensions="permessage-deflate")
    async with tunnel(backend, handshake=wire.upgrade(extensions="permessage-deflate")) as opened:
        texts = [b"again and again " * 10, b"again and again " * 20]
        first, second = map(compressed, texts)
        await opened.far.send(frame(wire.TEXT, first[:5], fin=False, rsv=4))
        assert (await opened.client.frame()).payload == first[:5]
        opened.splice.interject(lambda: FRAME)
        await opened.far.send(frame(wire.CONTINUATION, first[5:]) + frame(wire.TEXT, second, rsv=4))
        frames = [await opened.client.frame() for _ in range(3)]
        assert [each.payload for each in frames] == [first[5:], HINT.encode(), second]
        assert [inflate.decompress(part + b"\0\0\xff\xff") for part in (first, second)] == texts
    backend.answer = answers.accept(extensions="x-multiplexed")
    async with tunnel(backend, handshake=wire.upgrade(extensions="x-multiplexed")) as opened:
        opened.splice.interject(lambda: FRAME)
        await opened.far.send(MESSAGE)
        await opened.returns(MESSAGE)
