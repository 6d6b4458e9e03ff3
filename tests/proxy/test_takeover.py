"""The hand-over, and what it relies on in aiohttp. A new version that behaves differently fails here first."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import socket
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.proxy.house import House
from tests.proxy.tunnel import GRACE, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.proxy.half import Half
from wsguard.proxy.splice import Splice
from wsguard.proxy.takeover import HANDED_OVER, WRITE_HIGH_WATER, take_over

ROOT = Path(__file__).parents[2]
FLOOD = 10_000_000
MAX_TAIL = 2 * 256 * 1024
"""aiohttp looks at its bound from the second chunk on; a loop reads at most 256 KiB at once."""


def test_the_version_it_was_written_for_is_pinned_and_installed() -> None:
    """To move on to another: change the pin, and see that every test of this file still passes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"aiohttp=={aiohttp.__version__}" in project["dependencies"]


class Recorder(asyncio.Protocol):
    """Stands where the splice's half would."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.made = self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Taker:
    """An aiohttp server whose only handler hands its transport over once it may."""

    def __init__(self) -> None:
        self.recorder, self.go, self.in_handler = Recorder(), asyncio.Event(), asyncio.Event()
        self.go.set()
        self.tail: bytes | None = None
        self.transport: asyncio.Transport
        self.handler: web.RequestHandler | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.handler = request.protocol
        self.in_handler.set()
        await self.go.wait()
        self.handler = None
        self.transport, self.tail = take_over(request, self.recorder)
        self.transport.write(b"taken")
        return HANDED_OVER


@asynccontextmanager
async def taking() -> AsyncIterator[tuple[Taker, web.Server, RawClient]]:
    """The server, and a client that is connected to it."""
    loop = asyncio.get_running_loop()
    taker = Taker()
    server = web.Server(taker.handle, access_log=None, handler_cancellation=True)
    listening = await loop.create_server(server, "127.0.0.1", 0)
    try:
        async with connect(listening.sockets[0].getsockname()[1]) as client:
            yield taker, server, client
    finally:
        listening.close()
        await server.shutdown(1.0)


def digest(data: bytes | bytearray) -> str:
    """What to compare where a failure is not to print megabytes."""
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()}"


def count(kind: type) -> int:
    """How many there are, garbage included."""
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())  # isinstance() would wake lazy objects


async def test_nothing_of_aiohttp_is_left() -> None:
    """No handler, no connection in the server's books, no task, no timer; and no `connection_made`."""
    async with taking() as (taker, server, client):
        await client.send(wire.upgrade())
        assert await client.reader.readexactly(5) == b"taken"
        await eventually(lambda: len(asyncio.all_tasks()) == 1 and not server.connections)
        gc.collect()
        assert count(web.RequestHandler) == 0
        assert not taker.recorder.made
        await asyncio.wait_for(server.shutdown(60.0), 10.0)
        assert not taker.recorder.lost, "shutting aiohttp down ended a connection that is no longer its own"
        await client.send(b"and on")
        await eventually(lambda: taker.recorder.data == b"and on")
        taker.transport.abort()


async def test_what_is_written_is_all_that_the_client_gets() -> None:
    """aiohttp sends no answer of its own behind ours."""
    async with taking() as (taker, _, client):
        await client.send(wire.upgrade())
        assert await client.reader.readexactly(5) == b"taken"
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        taker.transport.close()
        assert await client.rest() == b""
        await eventually(lambda: taker.recorder.lost)


@pytest.mark.parametrize("size", [0, 1, 2, 60_000])
async def test_bytes_in_the_same_segment_are_the_tail(size: int) -> None:
    tail = os.urandom(size)
    async with taking() as (taker, _, client):
        await client.send(wire.upgrade() + tail)
        await client.reader.readexactly(5)
        await eventually(lambda: taker.tail is not None and len(taker.tail) + len(taker.recorder.data) >= size)
        assert (taker.tail or b"") + bytes(taker.recorder.data) == tail
        taker.transport.abort()


async def test_bytes_that_come_while_the_handler_waits_are_the_tail() -> None:
    async with taking() as (taker, _, client):
        taker.go.clear()
        await client.drip(wire.upgrade())
        await taker.in_handler.wait()
        for number in range(5):
            await client.send(bytes([number]))
            await asyncio.sleep(0.01)
        taker.go.set()
        await client.reader.readexactly(5)
        assert taker.tail == bytes(range(5))
        await client.send(b"later")
        await eventually(lambda: taker.recorder.data == b"later")
        taker.transport.abort()


async def test_a_flood_while_the_handler_waits_is_held_back_and_then_whole() -> None:
    """aiohttp stops reading at its bound; the hand-over starts it again."""
    flood = os.urandom(FLOOD)
    async with taking() as (taker, _, client):
        taker.go.clear()
        sending = asyncio.create_task(client.send(wire.upgrade() + flood))
        await taker.in_handler.wait()
        handler = taker.handler
        assert handler is not None
        await eventually(lambda: len(handler._message_tail) >= 65_536)
        await stays(lambda: len(handler._message_tail) <= MAX_TAIL, 0.3)
        taker.go.set()
        await sending
        await client.reader.readexactly(5)
        await eventually(lambda: len(taker.tail or b"") + len(taker.recorder.data) == FLOOD)
        assert digest((taker.tail or b"") + taker.recorder.data) == digest(flood)
        taker.transport.abort()


async def test_the_buffer_of_the_new_owner_is_bounded() -> None:
    """uvloop's own low-water mark is 16 bytes, asyncio's a quarter of 64 KiB: only the high one matters."""
    async with taking() as (taker, _, client):
        await client.send(wire.upgrade())
        await client.reader.readexactly(5)
        assert taker.transport.get_write_buffer_limits()[1] == WRITE_HIGH_WATER
        taker.transport.abort()


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_client_that_leaves_ends_the_handler(end: str) -> None:
    """`handler_cancellation`: a dial for nobody goes no further."""
    async with taking() as (taker, server, client):
        taker.go.clear()
        await client.send(wire.upgrade())
        await taker.in_handler.wait()
        if end == "rst":
            client.reset()
        else:
            await client.close()
        await eventually(lambda: len(asyncio.all_tasks()) == 1 and not server.connections)
        assert taker.tail is None


async def test_a_transport_that_is_closing_is_not_handed_over() -> None:
    async with taking() as (taker, _, client):
        taker.go.clear()
        await client.send(wire.upgrade())
        await taker.in_handler.wait()
        handler = taker.handler
        assert handler is not None
        assert handler.transport is not None
        taker.go.set()
        handler.transport.close()
        assert await client.rest() == b""
        assert taker.tail is None


# The same through the proxy itself.


def after(go: asyncio.Event) -> answers.Answer:
    """A backend that takes its time."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await go.wait()
        await conversation.send(answers.switching(head))
        while await conversation.receive():
            pass

    return answer


@pytest.mark.parametrize("size", [0, 1, 125, 70_000])
async def test_pipelined_frames_wait_for_the_backends_101(backend: RecordingBackend, size: int) -> None:
    """A client need not wait for the 101; the backend gets nothing before it has agreed."""
    go = asyncio.Event()
    backend.answer = after(go)
    frame = wire.frame(wire.BINARY, os.urandom(size))
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.upgrade() + frame)
        conversation = await backend.conversation()
        await stays(lambda: not conversation.tail, 0.1)
        go.set()
        assert (await client.head()).status == 101
        await eventually(lambda: len(conversation.tail) >= len(frame))
        assert digest(conversation.tail) == digest(frame)
        conversation.close()
        await client.close_frame()


async def test_a_flood_during_a_slow_dial_arrives_whole(backend: RecordingBackend) -> None:
    go = asyncio.Event()
    backend.answer = after(go)
    frame = wire.frame(wire.BINARY, os.urandom(FLOOD))
    async with House(backend) as house, connect(house.port) as client:
        sending = asyncio.create_task(client.send(wire.upgrade() + frame))
        conversation = await backend.conversation()
        await stays(lambda: not conversation.tail and not sending.done(), 0.2)
        go.set()
        await sending
        await eventually(lambda: len(conversation.tail) >= len(frame))
        assert digest(conversation.tail) == digest(frame)
        conversation.close()


async def test_a_flood_towards_a_backend_that_then_stalls_is_held_back(backend: RecordingBackend) -> None:
    """What came early fills the buffer at once: the pause that it causes must outlive the start."""
    go = asyncio.Event()

    async def answer(conversation: Conversation, head: Head) -> None:
        conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go.wait()
        await conversation.send(answers.switching(head))

    backend.answer = answer
    assert backend._server is not None
    for listening in backend._server.sockets:  # the kernel is to take less than came early
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    frame = wire.frame(wire.BINARY, os.urandom(2 * FLOOD))
    async with House(backend) as house, connect(house.port) as client:
        sending = asyncio.create_task(client.send(wire.upgrade() + frame))
        await eventually(lambda: [c for c in house.door.connections if len(c._message_tail) >= 65_536])
        go.set()
        await client.head()
        (connection,) = house.registry
        towards = connection.link._pair.backend.transport  # type: ignore[attr-defined]
        await eventually(lambda: towards.get_write_buffer_size() > WRITE_HIGH_WATER)
        await stays(lambda: towards.get_write_buffer_size() <= MAX_TAIL, 0.5)
        assert not sending.done()
        sending.cancel()
        client.reset()


async def test_early_bytes_of_the_backend_come_behind_the_101(backend: RecordingBackend) -> None:
    """In the backend's own segment, and too many for the client's buffers."""
    early = b"".join(wire.frame(wire.TEXT, bytes([65 + n]) * 1000, masked=False) for n in range(20))
    backend.answer = answers.accept(then=early)
    async with tunnel(backend) as opened:
        await opened.returns(early)


async def test_the_house_closes_at_once_with_a_connection_open(backend: RecordingBackend) -> None:
    """aiohttp waits for none of ours at the end."""
    async with tunnel(backend) as opened:
        began = asyncio.get_running_loop().time()
        await opened.house.door.shutdown(5.0)
        assert asyncio.get_running_loop().time() - began < GRACE
        await opened.client.send(wire.frame(wire.TEXT, b"still here"))
        assert (await opened.far.frame()).payload == b"still here"


async def test_an_ended_connection_is_not_left_to_the_collector(backend: RecordingBackend) -> None:
    """The guard runs it seldom; whatever a connection left in a ring would pile up until then."""
    gc.collect()
    before = count(Half), count(Splice)
    gc.disable()
    try:
        async with tunnel(backend) as opened:
            await opened.client.send(wire.close_frame(1000))
            await opened.far.frame()
            await opened.far.send(wire.close_frame(1000, masked=False))
            opened.far.close()
            await opened.client.rest()
        await eventually(lambda: (count(Half), count(Splice)) == before, 2.0)
    finally:
        gc.enable()
