"""What is left of clients, requests and backends that have come and gone: nothing that waits for the collector."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proxy.house import House
from tests.support import wire
from tests.support.backend import Answer, Conversation, RecordingBackend, accept, raw, reply, silence
from tests.support.certificates import Authority
from tests.support.client import RawClient, connect
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.model import Backend, GuardSpec, Listener, PolicySpec, Rejection
from wsguard.policy.model_hold import BackendLoss, Hold, Replay
from wsguard.policy.socket_path import SocketPath
from wsguard.protocol.bearing import HeldProtocol
from wsguard.proxy.entrance import listen
from wsguard.sessions.connection import Stream

LOOPS = ["uvloop"]

TIMES = 3
PART = bytes(50_000)
OWN = [("Host", "localhost"), ("Origin", "http://localhost")]
LONG = [*OWN, ("Content-Length", "200000")]
CHUNKED = [*OWN, ("Transfer-Encoding", "chunked")]
PAGE = wire.request("GET", "/page", [("Host", "localhost")])
UPLOAD = wire.request("POST", "/up", LONG) + PART
CHUNKS = wire.request("POST", "/up", CHUNKED) + b"c350\r\n" + PART + b"\r\n"
EVENTS = wire.request("GET", "/events", [("Host", "localhost"), ("Accept", "text/event-stream")])
BEHIND = PAGE + UPLOAD
FOREIGN = wire.request("POST", "/up", [("Host", "localhost"), ("Origin", "https://evil.example"), LONG[-1]]) + PART
HANDSHAKE = wire.upgrade()

GUARD = GuardSpec(listener=Listener(body_timeout=0.4, handshake_timeout=0.4))
ALL = (Stream.WEB_SOCKET, Stream.SERVER_SENT_EVENTS, Stream.LONG_POLLING)
HOLD = Hold(
    protocol=HeldProtocol.CUSTOM,
    hint="back",
    give_up_after=0.4,
    replay=Replay(messages=1, json_path="type", values=("subscribe",)),
)
POLICIES = {
    "sockets": PolicySpec(rejection=Rejection(close_timeout=0.2)),
    "streams": PolicySpec(rejection=Rejection(close_timeout=0.2), streams=ALL),
    "a hold": PolicySpec(rejection=Rejection(close_timeout=0.2), backend_loss=BackendLoss.HOLD, hold=HOLD),
}

Act = Callable[[RawClient], Awaitable[None]]


async def stay(client: RawClient) -> None:
    """To the end, whoever makes it; a conversation ends with a Close."""
    await client.send(wire.close_frame(1000))
    await client.rest(5.0)


async def hang_on(client: RawClient) -> None:
    """To the end, without another word."""
    await client.rest(5.0)


async def read(client: RawClient) -> None:
    """The answer's head, and leave."""
    await client.head()


async def leave(client: RawClient) -> None:
    """With a FIN."""


async def crash(client: RawClient) -> None:
    """With an RST."""
    client.reset()


async def garble(client: RawClient) -> None:
    """Go on with what is no chunk."""
    await client.send(b"zz\r\n")
    await client.rest(5.0)


def begun(more: bytes, *, end: str = "") -> Answer:
    """Answer with the head, and a part of the body; `end` is "fin" or "rst", or it goes on for ever."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\n" + more)
        if end:
            await asyncio.sleep(0.02)  # so that it is read before
            conversation.reset() if end == "rst" else conversation.close()
        while await conversation.receive():
            pass

    return answer


HALF = b"Content-Length: 100\r\n\r\nhalf"
NO_CHUNK = b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
STREAM = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata:\n\n\r\n"


@dataclass
class Way:
    """What the client asks, what the backend answers, and how the client goes once the backend knows of it."""

    asked: bytes
    answer: Answer
    act: Act = stay
    reaches: bool = True


WAYS = {
    "a broken head": Way(b"GET / HTTP/1.1\r\nHost\r\n\r\n", silence(), reaches=False),
    "half a head": Way(b"GET / HTTP/1.1\r\nHost", silence(), hang_on, reaches=False),
    "a head cut": Way(b"GET / HTTP/1.1\r\nHost", silence(), crash, reaches=False),
    "a request": Way(PAGE, reply(200, b"hello")),
    "a request without an answer": Way(PAGE, raw(b""), hang_on),
    "a request with nonsense for an answer": Way(PAGE, raw(b"nonsense"), hang_on),
    "a request whose backend crashes": Way(PAGE, begun(b"Content-Le", end="rst"), hang_on),
    "a request with half an answer": Way(PAGE, begun(HALF, end="fin"), hang_on),
    "a request with half an answer and a crash": Way(PAGE, begun(HALF, end="rst"), hang_on),
    "a request with a broken answer": Way(PAGE, begun(NO_CHUNK), hang_on),
    "a request cut": Way(PAGE, silence(), leave),
    "a request cut in its answer": Way(PAGE, begun(HALF), crash),
    "an upload cut": Way(UPLOAD, silence(), leave),
    "an upload cut before its turn": Way(BEHIND, silence(), leave),
    "an upload that crashes": Way(UPLOAD, silence(), crash),
    "an upload that is too slow": Way(UPLOAD, silence(), read),
    "an upload cut in its answer": Way(UPLOAD, begun(HALF), leave),
    "an upload answered early": Way(UPLOAD, reply(200, b"enough"), leave),
    "an upload whose backend leaves": Way(UPLOAD, raw(b""), read),
    "an upload whose backend crashes": Way(UPLOAD, begun(b"Content-Le", end="rst"), read),
    "chunks cut": Way(CHUNKS, silence(), leave),
    "chunks that become unreadable": Way(CHUNKS, silence(), garble),
    "a refused upload": Way(FOREIGN, silence(), leave, reaches=False),
    "a handshake cut": Way(HANDSHAKE, silence(), leave),
    "a handshake without an answer": Way(HANDSHAKE, raw(b"")),
    "a handshake with nonsense for an answer": Way(HANDSHAKE, raw(b"nonsense")),
    "a handshake that the backend refuses": Way(HANDSHAKE, reply(503, b"busy")),
    "a handshake that is refused": Way(wire.upgrade(origin="https://evil.example"), silence(), reaches=False),
    "a conversation": Way(HANDSHAKE, accept(echo=True)),
    "a conversation that the backend ends": Way(HANDSHAKE, accept(then=wire.close_frame(1000, masked=False))),
    "a conversation cut": Way(HANDSHAKE, accept(echo=True), crash),
    "a conversation whose backend crashes": Way(HANDSHAKE, begun(b"", end="rst"), hang_on),
    "events": Way(EVENTS, begun(STREAM), leave),
    "events that crash": Way(EVENTS, begun(STREAM), crash),
    "events whose backend leaves": Way(EVENTS, begun(STREAM, end="fin"), hang_on),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("which", WAYS)
async def test_nothing_waits_for_the_collector(which: str, policy: str) -> None:
    way = WAYS[which]
    async with _backend(way.answer) as (url, reached), nothing_is_left():
        house = House(url, POLICIES[policy], GUARD)
        async with house:
            for _ in range(TIMES):
                await _visit(way, house, reached)
            await eventually(lambda: not len(house.door.crowd), what="the door knows that they have left")


@asynccontextmanager
async def _takes_nobody() -> AsyncIterator[str]:
    """A backend whose backlog is full: whoever would connect has no answer at all."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as clients:
        address = server.getsockname()
        for _ in range(2):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@asynccontextmanager
async def _answers_nobody() -> AsyncIterator[str]:
    async with _backend(silence()) as (url, _):
        yield url


@pytest.mark.parametrize("backend", [_takes_nobody, _answers_nobody])
@pytest.mark.parametrize("asked", [PAGE, UPLOAD, HANDSHAKE, EVENTS], ids=["page", "upload", "handshake", "events"])
@pytest.mark.parametrize("act", [read, leave, crash])
async def test_nor_does_who_asks_a_backend_that_is_too_slow(
    backend: Callable[[], AbstractAsyncContextManager[str]], asked: bytes, act: Act
) -> None:
    """Whether the client waits until that is clear, or leaves."""
    async with backend() as url, nothing_is_left():
        slow = Backend(url=url, connect_timeout=0.1, response_timeout=0.3)
        house = House(slow, POLICIES["streams"], GUARD)
        async with house:
            for _ in range(TIMES):
                async with connect(house.port) as client:
                    await client.send(asked)
                    await eventually(lambda: house.door.connections, what="it has come")
                    await act(client)
            await eventually(lambda: not len(house.door.crowd), what="the door knows that they have left")


NO_TLS = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "half a ClientHello": b"\x16\x03\x01\x02\x00\x01",
    "nothing": b"",
}


@pytest.mark.parametrize("which", NO_TLS)
async def test_nor_does_who_does_not_get_through_tls(which: str, backend: RecordingBackend, tmp_path: Path) -> None:
    """Whether it leaves, or is made to; before the door has seen anything of it."""
    address, context = SocketPath(str(tmp_path / "door.sock")), Authority(tmp_path).serving("localhost")
    has_come = asyncio.Event()

    def tls() -> ssl.SSLContext:
        has_come.set()
        return context

    async with nothing_is_left():
        house = House(backend)
        async with house:
            listener = Listener(address=address, handshake_timeout=0.2)
            entrance = await listen(asyncio.get_running_loop(), house.door, listener, tls)
            for act in (leave, crash, hang_on):
                has_come.clear()
                async with connect(address.path) as client:
                    await client.send(NO_TLS[which])
                    await asyncio.wait_for(has_come.wait(), 5.0)
                    with suppress(OSError):
                        await act(client)
            await eventually(lambda: not len(house.door.crowd), what="the door knows that they have left")
            entrance.close()


async def _visit(way: Way, house: House, reached: asyncio.Event) -> None:
    reached.clear()
    async with connect(house.port) as client:
        await client.send(way.asked)
        if way.reaches:
            await asyncio.wait_for(reached.wait(), 5.0)
        with suppress(OSError):
            await way.act(client)


@asynccontextmanager
async def _backend(answer: Answer) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """One that acts upon a head, whatever is to follow it; the event says that it has one."""
    reached = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(reader, writer)
        with suppress(ConnectionError):
            while head := await conversation.request():
                reached.set()
                await answer(conversation, head)
        conversation.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", reached
