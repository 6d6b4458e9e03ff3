"""What the door makes of a request: a handshake, something to forward, or an answer that gives nothing away."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from tests.proxy.house import House
from tests.proxy.tunnel import QUICK
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually
from wsguard.policy.model import GuardSpec, Listener, NonWebSocket, PolicySpec
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.client_script import PATH, ClientScript
from wsguard.proxy.door import _Connection

LOOPS = ["uvloop"]

REFUSING = policy("{origin: {missing: Deny}, rejection: {foreignOrigin: HTTPStatus}}")

ASKED = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no HTTP": b"nonsense\r\n\r\n",
    "no handshake": wire.request("POST", "/ws", [("Host", "localhost"), ("Upgrade", "websocket")]),
    "a refusal by status": wire.upgrade(),
    "no backend": wire.request("GET", "/page", [("Host", "localhost")]),
}


async def test_its_answers_name_no_version_of_what_it_is_made_of() -> None:
    async with Guard("http://127.0.0.1:9", REFUSING) as guard:
        for name, asked in ASKED.items():
            async with connect(guard.port) as client:
                await client.send(asked)
                head = await client.head()
                assert head.status >= 400, name
                assert head.all("server") == ["wsguard"], name


HOST = ("Host", "localhost")
UPGRADE = [HOST, ("Upgrade", "websocket"), ("Connection", "Upgrade")]
KEY = ("Sec-WebSocket-Key", wire.KEY)
VERSION = ("Sec-WebSocket-Version", "13")

TURNED_AWAY = {
    "CONNECT": (wire.request("CONNECT", "localhost:80", [HOST]), 405),
    "TRACE": (wire.request("TRACE", "/", [HOST]), 405),
    "absolute form": (wire.request("GET", "http://localhost/", [HOST]), 400),
    "asterisk": (wire.request("OPTIONS", "*", [HOST]), 400),
    "a fragment": (wire.request("GET", "/#x", [HOST]), 400),
    "a backslash": (wire.request("GET", "/\\evil", [HOST]), 400),
    "no Host": (wire.request("GET", "/", []), 400),
    "an empty Host": (wire.request("GET", "/", [("Host", "")]), 400),
    "two Hosts": (wire.request("GET", "/", [HOST, HOST]), 400),
    "a Host with a user": (wire.request("GET", "/", [("Host", "a@localhost")]), 400),
    "a list of Hosts": (wire.request("GET", "/", [("Host", "localhost,evil.test")]), 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "a folded field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "identity": (wire.request("POST", "/", [HOST, ("Transfer-Encoding", "identity")]), 400),
    "xchunked": (wire.request("POST", "/", [HOST, ("Transfer-Encoding", "xchunked")]), 400),
    "chunked and a length": (
        wire.request("POST", "/", [HOST, ("Transfer-Encoding", "chunked"), ("Content-Length", "5")]),
        400,
    ),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "10,000 fields": (wire.request("GET", "/", [HOST, *[("X", "y")] * 10_000]), 400),
    "a field of a megabyte": (wire.request("GET", "/", [HOST, ("X", "y" * 1_000_000)]), 400),
    "a target of a megabyte": (wire.request("GET", "/" + "x" * 1_000_000, [HOST]), 400),
    "the guard's own path": (wire.request("GET", "/%2ewsguard/x", [HOST]), 404),
    "a handshake without a key": (wire.request("GET", "/ws", [*UPGRADE, VERSION]), 400),
    "a handshake of version 8": (wire.request("GET", "/ws", [*UPGRADE, KEY, ("Sec-WebSocket-Version", "8")]), 426),
    "a handshake by POST": (wire.request("POST", "/ws", [*UPGRADE, KEY, VERSION]), 405),
    "a handshake with a body": (wire.request("GET", "/ws", [*UPGRADE, KEY, VERSION, ("Content-Length", "5")]), 400),
    "a key and no upgrade": (wire.request("GET", "/ws", [HOST, KEY]), 426),
    "two upgrades": (wire.request("GET", "/ws", [*UPGRADE, KEY, VERSION, ("Upgrade", "h2c")]), 426),
    "an ambiguous path": (wire.upgrade("/ws/../admin"), 400),
    "another host": (wire.request("GET", "/", [("Host", "rebound.test")]), 421),
}


WAYS = [(name, way) for name in TURNED_AWAY for way in ("whole", "byte by byte")]


@pytest.mark.parametrize(("name", "way"), [it for it in WAYS if it[1] == "whole" or len(TURNED_AWAY[it[0]][0]) < 9999])
async def test_what_is_no_request_is_answered_and_goes_nowhere(backend: RecordingBackend, name: str, way: str) -> None:
    """An answer, the end of the connection, a line for the operator; no log of aiohttp's own."""
    sent, status = TURNED_AWAY[name]
    async with House(backend) as house, connect(house.port) as client:
        sending = asyncio.create_task(client.send(sent) if way == "whole" else client.drip(sent))
        head = await client.head()
        assert head.status == status
        await asyncio.wait([sending])
        assert [turned for turned, _ in house.notebook.turned] == [status]
        assert not backend.conversations
        assert logging.getLogger("wsguard.aiohttp").disabled


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("Upgrade", "h2c", 200), ("Upgrade", "websocket", 426), ("Sec-WebSocket-Protocol", "chat", 426)],
)
async def test_whatever_smells_of_a_websocket_is_an_attempt(
    backend: RecordingBackend, field: str, value: str, status: int
) -> None:
    """Another backend's parser might take it for one; other upgrades are dropped and the rest is forwarded."""
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("GET", "/page", [HOST, (field, value), ("Connection", "close")]))
        assert (await client.head()).status == status
        assert not backend.upgrades
        assert len(backend.requests) == (status == 200)


async def test_deny_serves_websockets_only(backend: RecordingBackend) -> None:
    guard = GuardSpec(non_web_socket=NonWebSocket.DENY)
    async with House(backend, PolicySpec(rejection=QUICK), guard) as house:
        async with connect(house.port) as client:
            await client.send(wire.request("GET", "/page", [HOST]))
            assert (await client.head()).status == 403
            assert not backend.conversations
        async with connect(house.port) as client:
            await client.open(wire.upgrade())
            (await backend.conversation()).close()


async def test_a_handshake_byte_by_byte(backend: RecordingBackend) -> None:
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        await client.drip(wire.upgrade() + wire.frame(wire.TEXT, b"hello"))
        assert (await client.head()).status == 101
        conversation = await backend.conversation()
        assert (await conversation.frame()).payload == b"hello"
        conversation.close()


async def test_pages_and_then_a_socket_on_one_connection(backend: RecordingBackend) -> None:
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        for _ in range(3):
            await client.send(wire.request("GET", "/page", [HOST]))
            assert await client.body(await client.head()) == b"ok"
        await client.open(wire.upgrade())
        await eventually(lambda: len(backend.upgrades) == 1)
        (await backend.conversation()).close()


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_a_page_a_socket_and_a_frame_in_one_go(backend: RecordingBackend, way: str) -> None:
    """Pipelined: each is what it would have been alone, and the frame waits for the 101."""
    frame = wire.frame(wire.TEXT, b"hello")
    sent = wire.request("GET", "/page", [HOST]) + wire.upgrade() + frame
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        sending = asyncio.create_task(client.send(sent) if way == "whole" else client.drip(sent))
        assert await client.body(await client.head()) == b"ok"
        assert (await client.head()).status == 101
        await sending
        await eventually(lambda: backend.upgrades)
        conversation = backend.conversations[-1]
        assert (await conversation.frame()).payload == b"hello"
        conversation.close()


async def test_two_handshakes_in_one_go_are_one(backend: RecordingBackend) -> None:
    """What stands behind a handshake is frames, and a second handshake is none."""
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        await client.send(wire.upgrade() * 2)
        assert (await client.head()).status == 101
        assert (await client.frame()).close == (1002, "protocol-error")
        conversation = await backend.conversation()
        assert (await conversation.frame()).close == (1001, "protocol-error")
        assert len(backend.upgrades) == 1
        conversation.close()


@pytest.mark.parametrize("sent", [b"", b"GET /ws HTT", wire.upgrade()[:-2]])
async def test_a_head_that_never_ends_is_ended(backend: RecordingBackend, sent: bytes) -> None:
    """And written down as what it is."""
    guard = GuardSpec(listener=Listener(handshake_timeout=0.5))
    async with House(backend, guard=guard) as house, connect(house.port) as client:
        began = time.monotonic()
        await client.send(sent)
        assert await client.rest() == b""
        assert 0.4 < time.monotonic() - began < 5.0
        await eventually(lambda: house.notebook.turned == [(408, CloseReason.HANDSHAKE_TIMEOUT.token)])


async def test_dripping_does_not_prolong_a_head(backend: RecordingBackend) -> None:
    guard = GuardSpec(listener=Listener(handshake_timeout=0.5))
    async with House(backend, guard=guard) as house, connect(house.port) as client:
        began = time.monotonic()
        await client.send(wire.upgrade()[:-2])
        with suppress(ConnectionError):
            while not client.writer.is_closing() and not client.reader.at_eof() and time.monotonic() - began < 9.0:
                await client.send(b"X: y\r\n")
                await asyncio.sleep(0.05)
        assert time.monotonic() - began < 5.0
        await eventually(lambda: house.notebook.turned)
        assert not backend.conversations


@pytest.mark.parametrize("sent", [b"", b"GET /ws HTT", wire.upgrade()[:-2]])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_leaves_before_its_request_is_whole(
    backend: RecordingBackend, sent: bytes, how: str
) -> None:
    """Port scans and probes: nobody is told."""
    async with House(backend) as house:
        async with connect(house.port) as client:
            await client.send(sent)
            await eventually(lambda: house.door.connections)
            if how == "rst":
                client.reset()
        await eventually(lambda: not house.door.connections)
        assert house.notebook.turned == []
        assert house.notebook.decisions == []


async def test_a_bug_is_a_500_and_is_told(backend: RecordingBackend) -> None:
    """The guard goes on; what the bug was about stays in the log."""
    async with House(backend) as house:

        def broken(*args: object) -> None:
            raise RuntimeError("secret")

        house.door._answers_to = broken  # type: ignore[assignment, method-assign]
        async with connect(house.port) as client:
            await client.send(wire.request("GET", "/page", [HOST]))
            head = await client.head()
            assert (head.status, await client.body(head)) == (500, b"a fault of the guard\n")
        assert [str(error) for _, error in house.notebook.faults] == ["secret"]
        house.notebook.faults.clear()
        async with connect(house.port) as client:
            await client.open(wire.upgrade(origin="https://evil.test"))
            assert await client.close_frame() == (4403, "origin-denied")


@asynccontextmanager
async def unread(backend: RecordingBackend, body_timeout: float) -> AsyncIterator[House]:
    """A client asks for the guard's own script again and again, and reads none of it."""
    guard = GuardSpec(listener=Listener(handshake_timeout=0.2, body_timeout=body_timeout))
    async with House(backend, guard=guard) as house:
        house.door._routes = {PATH: ClientScript(house.env)}
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.send(wire.request("GET", PATH, [HOST]) * 800)
            await eventually(lambda: any(map(waits, house.door.connections)), what="an answer that is not taken")
            yield house


def waits(connection: web.RequestHandler) -> bool:
    return connection.transport is not None and connection.transport.get_write_buffer_size() > 0


async def test_who_takes_no_answer_of_the_guards_own_is_reset(backend: RecordingBackend) -> None:
    async with unread(backend, body_timeout=0.2) as house:
        await eventually(lambda: not len(house.door.crowd) and not house.door.connections, what="an empty house")


async def test_who_makes_room_is_gone_whatever_it_has_yet_to_read(backend: RecordingBackend) -> None:
    async with unread(backend, body_timeout=0.0) as house:
        (connection,) = house.door.connections
        transport = connection.transport
        connection.make_room()  # type: ignore[attr-defined]
        await eventually(lambda: not house.door.connections, what="its end")
        assert transport is not None
        assert transport.is_closing()


LEAVE = {
    "a broken head": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", answers.accept()),
    "a request": (wire.request("GET", "/page", [HOST]), answers.reply(200, b"hello")),
    "a refusal": (wire.upgrade(origin="https://evil.example"), answers.accept()),
    "an answer that is none": (wire.upgrade(), answers.raw(b"nonsense")),
    "no answer": (wire.upgrade(), answers.raw(b"")),
    "no": (wire.upgrade(), answers.reply(503, b"busy")),
    "a conversation": (wire.upgrade(), answers.accept(then=wire.close_frame(1000))),
}


@pytest.mark.parametrize("which", LEAVE)
async def test_a_client_that_has_left_does_not_wait_for_the_collector(which: str, backend: RecordingBackend) -> None:
    """It is called seldom (`calm_the_collector`): what stays in a cycle is memory that whoever fails often holds."""
    asked, backend.answer = LEAVE[which]
    async with House(backend) as house:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                async with connect(house.port) as client:
                    await client.send(asked)
                    await client.head()
                    await client.send(wire.close_frame(1000))
                    await client.rest(2.0)
            await eventually(lambda: not len(house.door.crowd))
            await eventually(lambda: not _in_memory(_Connection), what="nothing is left of them")
        finally:
            gc.enable()


def _in_memory(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())
