"""Bodies stream both ways; a backend that fails over HTTP is a plain answer, and half a page never looks whole."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.scenarios.conftest import Standing, stands
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import connect, fetch
from tests.support.guard import Guard
from tests.support.waiting import eventually
from tests.support.wire import Head

HOST = ("Host", "localhost")


@stands
async def test_a_request_body_streams(standing: Standing) -> None:
    """The backend has the first piece while the client still holds the second."""
    guard, backend = standing
    async with connect(guard.port) as client:
        await client.send(wire.request("POST", "/up", [HOST, ("Transfer-Encoding", "chunked")], b"5\r\nfirst\r\n"))
        conversation = await backend.conversation()
        await eventually(lambda: b"first" in conversation.received)
        await client.send(b"6\r\nsecond\r\n0\r\n\r\n")
        head = await client.head()
        assert (head.status, await client.body(head)) == (200, b"ok")
        assert b"second" in conversation.received


@stands
async def test_a_response_body_streams(standing: Standing) -> None:
    """The client has the first piece while the backend still holds the second; trailers are dropped."""
    guard, backend = standing
    go = asyncio.Event()

    async def respond(conversation: Conversation, head: Head) -> None:
        await conversation.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nfirst\r\n"
        )
        await go.wait()
        await conversation.send(b"6\r\nsecond\r\n0\r\nX-Sum: 11\r\n\r\n")

    backend.respond = respond
    async with connect(guard.port) as client:
        await client.send(wire.request("GET", "/down", [HOST]))
        head = await client.head()
        assert (head.get("transfer-encoding"), head.get("trailer")) == ("chunked", None)
        assert await client.reader.readuntil(b"first\r\n") == b"5\r\nfirst\r\n"
        go.set()
        assert b"second" in await client.reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize("knows", [True, False])
@stands
async def test_100_continue(standing: Standing, knows: bool) -> None:
    """A client that waits for it gets it, and then sends, whether or not the backend knows of such a thing."""
    guard, backend = standing
    backend.says_continue = knows
    async with connect(guard.port) as client:
        await client.send(wire.request("POST", "/up", [HOST, ("Content-Length", "5"), ("Expect", "100-continue")]))
        assert (await client.head()).status == 100
        await client.send(b"hello")
        head = await client.head()
        assert (head.status, await client.body(head)) == (200, b"ok")
    assert b"hello" in backend.conversations[0].received


BROKEN = {
    "garbage": (answers.raw(b"\x00\xffgarbage\r\n\r\n"), 502),
    "closes at once": (answers.raw(b""), 502),
    "an unasked 101": (answers.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", close=False), 502),
    "two lengths": (answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502),
}


@pytest.mark.parametrize("name", BROKEN)
@stands
async def test_a_backend_that_answers_nonsense_is_a_502(standing: Standing, name: str) -> None:
    """And none of it reaches the client."""
    guard, backend = standing
    backend.respond, status = BROKEN[name]
    head, body = await fetch(guard.port, "/page")
    assert head.status == status
    assert b"garbage" not in body


@stands
async def test_a_backend_that_dies_in_its_body_is_no_clean_end(standing: Standing) -> None:
    """A client must not take half a page for a whole one."""
    guard, backend = standing
    backend.respond = answers.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(f"{guard.url}/page") as response:
                await response.read()


async def test_nobody_listens_is_a_502(backend: RecordingBackend) -> None:
    """Soon, and the guard stays ready."""
    async with Guard("http://127.0.0.1:9") as guard:
        head, _ = await fetch(guard.port, "/page")
        assert head.status == 502


@stands
async def test_a_client_that_leaves_frees_the_backend(standing: Standing) -> None:
    """In the middle of a download."""
    guard, backend = standing

    async def respond(conversation: Conversation, head: Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        while await conversation.receive():
            pass

    backend.respond = respond
    async with connect(guard.port) as client:
        await client.send(wire.request("GET", "/down", [HOST]))
        await client.head()
        client.reset()
    await (await backend.conversation()).until_ended()


@stands
async def test_a_slow_reader_holds_the_backend_back(standing: Standing) -> None:
    """A download of 200 MB to a client that reads nothing stays with the backend."""
    guard, backend = standing
    sent = 0

    async def respond(conversation: Conversation, head: Head) -> None:
        nonlocal sent
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        for _ in range(2000):
            await conversation.send(b"x" * 100_000)
            sent += 100_000

    backend.respond = respond
    async with connect(guard.port, receive_buffer=4096) as client:
        await client.send(wire.request("GET", "/down", [HOST]))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.5)
        assert sent < 30_000_000  # what the kernel's buffers take, and little of our own
