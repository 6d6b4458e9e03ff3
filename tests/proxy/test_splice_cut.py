"""How the guard ends a connection, wherever in a frame it strikes, and whether or not anybody reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import AT_MOST, GRACE, Tunnel, record, stall, text, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.policy.model import PolicySpec, Rejection
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.pair import REST_OF_FRAME

EXPIRED = (4440, "session-expired")
AWAY = (1001, "session-expired")
SMALL = 4096


async def test_a_cut_between_frames(backend: RecordingBackend) -> None:
    """Both sides are told at once, each in its own words; whatever comes then goes nowhere."""
    async with tunnel(backend) as opened:
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        await opened.client.send(text(b"too late", masked=True))
        told = await opened.far.frame()
        assert told.mask is not None
        assert told.close == AWAY
        assert await opened.client.close_frame() == EXPIRED
        await opened.far.send(text(b"too late") + wire.close_frame(1001, masked=False))
        assert await opened.client.rest() == b""
        assert await opened.far.until_ended() == "fin"
        assert not opened.far.tail
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "acknowledged")


async def test_the_masks_of_two_closes_differ(backend: RecordingBackend) -> None:
    """RFC 6455 §5.3: a fresh, unpredictable key for each frame."""
    masks = set()
    for _ in range(2):
        async with tunnel(backend) as opened:
            opened.splice.cut(CloseReason.TERMINATED)
            masks.add((await opened.far.frame()).mask)
            await opened.client.close_frame()
    assert len(masks) == 2


async def test_the_first_cause_wins(backend: RecordingBackend) -> None:
    async with tunnel(backend) as opened:
        for reason in (CloseReason.LOGGED_OUT, CloseReason.SESSION_EXPIRED, CloseReason.DRAINING):
            opened.splice.cut(reason)
        assert await opened.client.close_frame() == (4441, "logged-out")
        assert (await opened.far.frame()).close == (1001, "logged-out")
        await opened.client.rest()
        assert (await record(opened))[1] == "logged-out"


async def test_a_cut_in_the_middle_of_both_frames_waits_for_their_ends(backend: RecordingBackend) -> None:
    up, down = text(b"u" * 1000, masked=True), text(b"d" * 1000)
    async with tunnel(backend) as opened:
        await opened.client.send(up[:500])
        await opened.far.send(down[:500])
        await opened.arrives(up[:500])
        await opened.returns(down[:500])
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        await stays(lambda: len(opened.far.tail) == 500, 0.1)
        await opened.client.send(up[500:] + text(b"not this", masked=True))
        await opened.far.send(down[500:] + text(b"nor this"))
        assert (await opened.far.frame()).payload == b"u" * 1000
        assert (await opened.far.frame()).close == AWAY
        await opened.returns(down[500:])
        assert await opened.client.close_frame() == EXPIRED
        assert await opened.client.rest() == b""


async def test_a_cut_between_the_fragments_of_a_message(backend: RecordingBackend) -> None:
    """A control frame may stand there (RFC 6455 §5.4)."""
    async with tunnel(backend) as opened:
        await opened.far.send(wire.frame(wire.TEXT, b"first", fin=False, masked=False))
        await opened.client.frame()
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert await opened.client.close_frame() == EXPIRED


async def test_a_cut_in_a_half_read_header_needs_no_more_of_it(backend: RecordingBackend) -> None:
    """The first byte of a frame was held back: as far as the client knows this is a boundary."""
    async with tunnel(backend) as opened:
        await opened.far.send(text(b"whole") + text(b"next")[:1])
        assert (await opened.client.frame()).payload == b"whole"
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert await opened.client.close_frame() == EXPIRED


async def test_a_cut_in_the_middle_of_a_flood(backend: RecordingBackend) -> None:
    """From both sides at full speed: what each gets is whole frames, then the Close."""
    down, up = text(b"d" * 10_000), text(b"u" * 10_000, masked=True)
    async with tunnel(backend, PolicySpec(rejection=Rejection(close_timeout=10.0))) as opened:
        tasks = [asyncio.create_task(flood(opened.far.send, down)), asyncio.create_task(flood(opened.client.send, up))]
        for _ in range(100):
            await opened.client.frame()
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert await read_to_close(opened, down) == EXPIRED
        assert await opened.client.rest() == b""
        await opened.client.close()
        while (frame := await opened.far.frame()).opcode != wire.CLOSE:
            assert len(frame.payload) == 10_000
        assert frame.close == AWAY
        assert not opened.far.tail
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        opened.far.close()
        assert (await record(opened))[4] == "acknowledged"


async def flood(send: Callable[[bytes], Awaitable[None]], frame: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            await send(frame)


async def read_to_close(opened: Tunnel, frame: bytes) -> tuple[int, str]:
    """Read copies of `frame` up to the Close, and send the reply."""
    stream = opened.client._frames
    while True:
        while stream.startswith(frame):
            del stream[: len(frame)]
        if not frame.startswith(stream) and (close := wire.take_frame(stream)):
            await opened.client.send(wire.close_frame(close.close[0]))
            return close.close
        stream += await asyncio.wait_for(opened.client.reader.read(2**20), 10.0)


async def test_a_cut_while_the_client_reads_nothing(backend: RecordingBackend) -> None:
    """It is gone soon after the grace, and the record does not claim that it was told."""
    async with tunnel(backend, receive_buffer=SMALL) as opened:
        await stall(opened, text(b"x" * 20_000))
        began = time.monotonic()
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        # The backend is read on, so its frame ends and it is told: only the client is stuck.
        assert (await opened.far.frame()).close == AWAY
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "undelivered")
        assert GRACE <= time.monotonic() - began < AT_MOST
        with pytest.raises(ConnectionResetError):
            await opened.client.rest()


@pytest.mark.parametrize("size", [20_000, REST_OF_FRAME + 500_000])
async def test_a_client_that_reads_again_within_the_grace_reads_the_close(backend: RecordingBackend, size: int) -> None:
    """Less than 64 KiB of a frame missing, or more: then reading it is what brings the rest."""
    frame = text(b"x" * size)
    async with tunnel(backend, PolicySpec(rejection=Rejection(close_timeout=10.0)), receive_buffer=SMALL) as opened:
        await stall(opened, frame)
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        await asyncio.sleep(0.1)
        assert await read_to_close(opened, frame) == EXPIRED
        assert await opened.client.rest() == b""
        await opened.client.close()
        opened.far.close()
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "acknowledged")


async def test_a_client_that_stalls_far_from_a_boundary_is_gone_after_the_grace(backend: RecordingBackend) -> None:
    """More than 64 KiB of the frame are missing: the guard keeps its bound on memory, and no Close can be placed."""
    async with tunnel(backend, receive_buffer=SMALL) as opened:
        await stall(opened, text(b"x" * 20_000_000), copies=1)
        assert opened.half("backend").scanner.left > REST_OF_FRAME
        began = time.monotonic()
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        held = opened.half("client").transport.get_write_buffer_size()
        await stays(lambda: opened.half("client").transport.get_write_buffer_size() <= held, GRACE / 2)
        assert await record(opened) == ("guard", "session-expired", 4440, "open", "undelivered")
        assert time.monotonic() - began < AT_MOST


async def test_a_backend_that_reads_nothing_does_not_hold_up_the_clients_close(backend: RecordingBackend) -> None:
    """Its frame is far from its end: the backend is dropped, and the client's reply gets through."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(answers.switching(head))
        await asyncio.Event().wait()

    backend.answer = answer
    async with tunnel(backend) as opened:
        head = wire.frame(wire.BINARY, declared=2**40)
        sending = asyncio.create_task(opened.client.send(head + b"x" * 40_000_000))
        await eventually(lambda: not opened.half("client").transport.is_reading())
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert (await opened.client.frame()).close == EXPIRED
        with suppress(ConnectionError):  # the rest of the frame may take longer than the grace
            await sending
        opened.far.writer.transport.abort()


@pytest.mark.parametrize(
    ("reply", "delivery"),
    [("close", "acknowledged"), ("fin", "sent"), ("silence", "sent"), ("rst", "undelivered")],
)
async def test_the_record_says_what_became_of_the_close(backend: RecordingBackend, reply: str, delivery: str) -> None:
    """`acknowledged` only where the client's own Close came back; a reset may have overtaken ours."""
    async with tunnel(backend) as opened:
        opened.splice.cut(CloseReason.SESSION_EXPIRED)
        assert (await opened.client.frame()).close == EXPIRED
        opened.far.close()
        if reply == "close":
            await opened.client.send(wire.close_frame(4440))
        elif reply == "fin":
            opened.client.half_close()
        elif reply == "rst":
            opened.client.reset()
        assert (await record(opened))[4] == delivery


# Without a socket: orders of events that the network seldom gives.


def test_a_client_that_closes_while_the_backend_is_in_the_middle_of_a_frame() -> None:
    """A cut is pending: the frame is finished, the Close follows, and only then the FIN."""
    bench = Bench()
    frame = wire.frame(wire.BINARY, bytes(70_000), masked=False)
    bench.backend.arrive(frame[:60_000])
    bench.splice.cut(CloseReason.SESSION_EXPIRED)
    bench.client.arrive(wire.close_frame(1000))
    assert not bench.client.eof_written
    bench.backend.arrive(frame[60_000:])
    assert bench.to_client[: len(frame)] == frame
    close = wire.take_frame(bytearray(bench.to_client[len(frame) :]))
    assert close is not None
    assert close.close == EXPIRED
    assert bench.client.eof_written


@pytest.mark.parametrize("left", [REST_OF_FRAME, REST_OF_FRAME + 1])
def test_a_stalled_client_is_given_the_rest_of_a_frame_up_to_64_kib(left: int) -> None:
    """Beyond it the guard's memory is worth more than the Close."""
    bench = Bench()
    frame = wire.frame(wire.BINARY, bytes(200_000), masked=False)
    bench.client.stalled = True
    bench.backend.arrive(frame[:-left])
    assert not bench.backend.reading
    bench.splice.cut(CloseReason.SESSION_EXPIRED)
    assert bench.backend.reading == (left <= REST_OF_FRAME)
    if bench.backend.reading:
        bench.backend.arrive(frame[-left:])
        assert bench.to_client[len(frame) :]
    bench.loop.fire()
    assert bench.end[1] == "undelivered"


def test_a_stalled_client_that_is_lost_while_its_close_waits_frees_the_backend() -> None:
    """Its Close was far from a boundary, and the backend has a reply to give."""
    bench = Bench()
    bench.client.stalled = True
    bench.backend.arrive(wire.frame(wire.BINARY, declared=2**30, masked=False) + bytes(100_000))
    bench.splice.cut(CloseReason.SESSION_EXPIRED)
    assert not bench.backend.reading
    bench.client.lose(ConnectionResetError())
    assert bench.backend.reading
    written = bench.to_client
    bench.backend.arrive(bytes(100_000))
    assert bench.to_client == written
    assert bench.backend.eof_written


def test_a_message_that_takes_long_is_not_idle() -> None:
    """Its bytes count, as those of data; a Ping's do not."""
    bench = Bench()
    frame = wire.frame(wire.BINARY, bytes(1000), masked=False)
    for now, data, seen in (
        (1.0, frame[:300], 1.0),
        (2.0, frame[300:600], 2.0),
        (3.0, frame[600:], 2.0),  # the last bytes look like those of a control frame, and come soon
        (4.0, wire.frame(wire.PING, b"p", masked=False), 2.0),
        (5.0, wire.frame(wire.TEXT, b"a", fin=False, masked=False), 5.0),
        (6.0, wire.frame(wire.CONTINUATION, b"b", fin=False, masked=False), 6.0),
        (7.0, wire.frame(wire.CONTINUATION, b"c", masked=False), 7.0),
        (8.0, wire.frame(wire.PONG, b"p", masked=False), 7.0),
    ):
        bench.now = now
        bench.backend.arrive(data)
        assert bench.splice.last_message_at == seen


def test_at_the_end_it_lets_go_of_its_halves() -> None:
    bench = Bench()
    half = bench.client.half
    bench.client.lose(None)
    bench.backend.lose(None)
    assert bench.splice.other(half) is None
    assert half.sink is None
    bench.splice.cut(CloseReason.TERMINATED)
    assert bench.splice.traffic() == (0, 0, 0, 0)
