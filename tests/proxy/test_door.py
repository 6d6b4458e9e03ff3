"""A client of the public port, from its first byte to the last answer that it takes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from tests.proxy.house import House
from tests.proxy.tunnel import QUICK
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually
from wsguard.policy.model import GuardSpec, Listener, PolicySpec
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.client_script import PATH, ClientScript

LOOPS = ["uvloop"]

HOST = ("Host", "localhost")

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

        house.door._router._answers_to = broken  # type: ignore[assignment, method-assign]
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
        house.door._router._routes = {PATH: ClientScript(house.env)}
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
