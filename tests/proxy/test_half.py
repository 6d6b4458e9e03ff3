"""One side of a splice: what it holds back, what it stops, and how it ends. Back-pressure is proven, both ways."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import MAX_BUFFER, Tunnel, tunnel
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.takeover import WRITE_HIGH_WATER

SIZE = 40_000
NUMBER = 300  # 12 MB: more than the kernel takes between the guard and a peer with small buffers
SMALL = 4096


class Flood:
    """One side sends as fast as it may, and the other reads nothing until it is told to."""

    def __init__(self, opened: Tunnel, source: str) -> None:
        self.opened, self.source, self.sink = opened, source, "backend" if source == "client" else "client"
        self.frames = [wire.frame(wire.BINARY, os.urandom(SIZE), masked=source == "client") for _ in range(NUMBER)]
        self.sent = hashlib.sha256()
        self.length = 0
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        peer = self.opened.client if self.source == "client" else self.opened.far
        with suppress(ConnectionError):
            for frame in self.frames:
                self.sent.update(frame)
                self.length += len(frame)
                await peer.send(frame)

    @property
    def held(self) -> int:
        """Bytes that the guard holds back for the sink, in user space."""
        return self.opened.half(self.sink).transport.get_write_buffer_size()

    @property
    def reading(self) -> bool:
        """Whether the guard reads from the source."""
        return self.opened.half(self.source).transport.is_reading()

    async def stalls(self) -> None:
        """The guard reads no more from the source, for good, and holds back little."""
        await eventually(lambda: not self.reading, what="a pause")
        assert self.held > WRITE_HIGH_WATER
        half = self.opened.half(self.source)
        read = half.bytes_in
        await stays(lambda: not self.reading and self.held <= MAX_BUFFER and half.bytes_in == read, 0.2)
        assert read < sum(map(len, self.frames))

    async def received(self) -> str:
        """The digest of all that the sink reads in the end."""
        total = sum(map(len, self.frames))
        if self.sink == "client":
            read = hashlib.sha256()
            while total > 0:
                data = await asyncio.wait_for(self.opened.client.reader.read(65536), 10.0)
                read.update(data)
                total -= len(data)
            return read.hexdigest()
        await eventually(lambda: len(self.opened.far.tail) >= total, what="the whole flood at the backend")
        return hashlib.sha256(self.opened.far.tail).hexdigest()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def flooded(backend: RecordingBackend, source: str) -> AsyncIterator[tuple[Flood, Callable[[], None]]]:
    """A flood from `source` that has come to a stop, and how to let it flow."""
    if source == "client":
        accept = backend.answer

        async def answer(conversation: Conversation, head: Head) -> None:
            conversation.stop_reading()
            raw = conversation.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * SMALL)
            await accept(conversation, head)

        backend.answer = answer
    async with tunnel(backend, receive_buffer=SMALL) as opened:
        flood = Flood(opened, source)
        try:
            await flood.stalls()
            yield flood, opened.far.resume_reading if source == "client" else lambda: None
        finally:
            await flood.end()
            opened.far.resume_reading()


SIDES = ["client", "backend"]


@pytest.mark.parametrize("source", SIDES)
async def test_a_stalled_peer_stops_the_other_and_later_gets_every_byte(backend: RecordingBackend, source: str) -> None:
    """At most 384 KiB in user space, a source that is really paused, and the same bytes in the same order."""
    async with flooded(backend, source) as (flood, release):
        release()
        assert await flood.received() == flood.sent.hexdigest()
        await flood.task
        assert flood.length == sum(map(len, flood.frames))
        assert flood.reading
        assert flood.held == 0


@pytest.mark.parametrize("source", SIDES)
async def test_a_stall_holds_back_one_direction_only(backend: RecordingBackend, source: str) -> None:
    async with flooded(backend, source) as (flood, _):
        opened = flood.opened
        if source == "client":
            await opened.far.send(wire.frame(wire.TEXT, b"still here", masked=False))
            assert (await opened.client.frame()).payload == b"still here"
        else:
            await opened.client.send(wire.frame(wire.TEXT, b"still here"))
            assert (await opened.far.frame()).payload == b"still here"
        assert not flood.reading


@pytest.mark.parametrize("source", SIDES)
async def test_the_loss_of_a_stalled_peer_frees_the_paused_one(backend: RecordingBackend, source: str) -> None:
    """asyncio calls no `resume_writing` for a transport that is lost."""
    async with flooded(backend, source) as (flood, _):
        opened = flood.opened
        if source == "client":
            opened.far.reset()
            # The client was in the middle of a frame, which is nobody's business: it reads the Close at once.
            code, reason = await opened.client.close_frame()
            assert (code, reason.split()[0]) == (1014, "backend-lost")
            assert (await opened.house.end()).reason is CloseReason.BACKEND_LOST
        else:
            opened.client.reset()
            await asyncio.wait_for(flood.task, 10.0)
            await opened.far.until_ended()
            assert (await opened.house.end()).reason is CloseReason.CLIENT_LOST


@pytest.mark.parametrize("peer", SIDES)
async def test_an_abort_is_an_rst(backend: RecordingBackend, peer: str) -> None:
    """A FIN would look like an end that somebody meant."""
    async with tunnel(backend) as opened:
        opened.half(peer).abort()
        if peer == "client":
            with pytest.raises(ConnectionResetError):
                await opened.client.rest()
        else:
            assert await opened.far.until_ended() == "rst"


async def test_an_abort_drops_what_is_queued(backend: RecordingBackend) -> None:
    """Also behind `close()`, which alone would wait for a peer that reads nothing."""
    async with flooded(backend, "backend") as (flood, _):
        half = flood.opened.half("client")
        half.transport.close()
        await stays(lambda: not half.lost, 0.2)
        half.abort()
        await eventually(lambda: half.lost)


# Without a socket: the same laws, call by call.

TEXT = wire.frame(wire.TEXT, b"hello", masked=False)
LONG = wire.frame(wire.BINARY, bytes(100_000), masked=False)


def test_a_chunk_goes_on_as_it_came() -> None:
    """No copy, and nothing is asked of the loop."""
    bench = Bench()
    written: list[bytes] = []
    bench.client.write = written.append  # type: ignore[assignment, method-assign]
    bench.backend.arrive(TEXT)
    assert written[0] is TEXT
    assert bench.loop.timers == []


def test_a_pause_is_passed_on_and_lifted() -> None:
    bench = Bench()
    bench.client.stalled = True
    bench.backend.arrive(LONG)
    assert not bench.backend.reading
    assert bench.client.reading
    bench.client.unstall()
    assert bench.backend.reading


def test_early_bytes_that_fill_the_buffer_leave_the_source_paused() -> None:
    """`begin` lets both sides be read, but not one whose early bytes are still waiting."""
    bench = Bench(begin=False)
    bench.client.stalled = bench.backend.stalled = True
    bench.splice.begin(LONG, wire.frame(wire.BINARY, bytes(100_000)))
    assert not bench.backend.reading
    assert not bench.client.reading
    bench.client.unstall()
    assert bench.backend.reading
    assert not bench.client.reading


def test_a_discarding_half_reads_on_however_full_the_other_is() -> None:
    """A Close frame over unread input would be followed by an RST."""
    bench = Bench()
    bench.client.stalled = True
    bench.backend.arrive(LONG)
    bench.splice.cut(CloseReason.TERMINATED)
    assert bench.backend.reading
    written = bench.to_client
    bench.backend.arrive(LONG)
    assert bench.to_client == written


def test_what_is_read_and_thrown_away_is_not_counted() -> None:
    bench = Bench()
    bench.backend.arrive(TEXT)
    bench.splice.cut(CloseReason.TERMINATED)
    bench.backend.arrive(TEXT)
    bench.client.fin()
    bench.client.lose(None)
    bench.backend.lose(None)
    traffic = bench.end[2]
    assert (traffic.messages_from_backend, traffic.bytes_from_backend) == (1, len(TEXT))


def test_a_lost_half_is_told_of_once() -> None:
    """uvloop and asyncio may both call after an abort."""
    bench = Bench()
    half = bench.client.half
    bench.client.lose(None)
    half.connection_lost(None)
    bench.backend.lose(None)
    half.connection_lost(None)
    assert len(bench.owner.ends) == 1


@pytest.mark.parametrize("heard", [False, True])
def test_hanging_up_is_a_fin_and_then_the_end(heard: bool) -> None:
    """Both ways are closed once the peer has closed its own; until then it is read."""
    bench = Bench()
    half, transport = bench.client.half, bench.client
    half.eof_received_already = heard
    half.hang_up()
    assert (transport.eof_written, transport.closing) == (not heard, heard)
    half.hang_up()
    assert (transport.eof_written, transport.closing) == (not heard, heard)


def test_a_fin_for_a_peer_that_is_gone_ends_the_transport() -> None:
    """asyncio's loop raises what uvloop reports as the loss of the connection."""
    bench = Bench()

    def write_eof() -> None:
        raise OSError("not connected")

    bench.backend.write_eof = write_eof  # type: ignore[method-assign]
    bench.client.fin()
    assert bench.backend.aborted
    bench.backend.lose(None)
    assert bench.client.closing
