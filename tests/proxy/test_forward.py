"""What backends do with `Expect: 100-continue`, and who is told of failures.

tests/scenarios/test_http.py has the rest of plain HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.proxy.house import House
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.waiting import eventually

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

UPLOAD = wire.request("POST", "/up", [("Host", "localhost"), ("Content-Length", "5"), ("Expect", "100-continue")])


@asynccontextmanager
async def uploading(serve: Serve) -> AsyncIterator[RawClient]:
    """A client that has announced a body to a guard before a backend that is `serve`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Guard(url) as guard, connect(guard.port) as client:
        await client.send(UPLOAD)
        yield client


async def test_a_backend_that_never_says_continue_gets_the_body() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with uploading(serve) as client:
        assert (await client.head()).status == 100
        await client.send(b"hello")
        head = await client.head()
        assert (head.status, await client.body(head)) == (200, b"hello")


async def test_no_continue_stands_in_an_answer_that_came_without_it() -> None:
    """However long it takes, and though the body is still held back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nfar")
        await asyncio.sleep(1.5)
        writer.write(b"too")
        await writer.drain()

    async with uploading(serve) as client:
        head = await client.head()
        assert (head.status, await client.body(head)) == (413, b"fartoo")


async def test_a_switch_that_nobody_asked_for_is_counted_and_logged(backend: RecordingBackend) -> None:
    backend.respond = answers.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", close=False)
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.send(wire.request("GET", "/page", [("Host", "localhost")]))
        assert (await client.head()).status == 502
        line = await guard.log({"event": "request_turned_away"})
        assert (line["status"], line["detail"]) == (502, "the backend switched protocols unasked")
        assert await guard.metric("wsguard_requests_turned_away_total", status="502") == 1


async def test_a_client_that_leaves_its_download_was_not_turned_away(backend: RecordingBackend) -> None:
    backend.respond = answers.reply(200, b"x" * 20_000_000)
    async with Guard(backend) as guard:
        for _ in range(10):
            async with connect(guard.port) as client:
                await client.send(wire.request("GET", "/down", [("Host", "localhost")]))
                await client.head()
                client.reset()
        await eventually(lambda: all(each.writer.is_closing() for each in backend.conversations))
        assert await guard.metric("wsguard_requests_turned_away_total") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nSet Cookie: session=s3cr3t\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: session=s3cr3t\r\nContent-Len",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\ns3cr3t\r\n",
        "s3cr3t\r\n\r\n",
        "",
    ],
    ids=["bad field", "half a head", "bad chunk", "no HTTP", "nothing"],
)
async def test_a_broken_answer_is_told_without_quoting_it(backend: RecordingBackend, answer: str) -> None:
    """Neither what the backend sent nor the query of the request gets into the log."""
    backend.respond = answers.raw(answer.encode())
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("GET", "/page?token=s3cr3t", [("Host", "localhost")]))
        await client.rest()
        told = house.notebook.turned
    assert len(told) == 1
    assert "s3cr3t" not in told[0][1]
    assert b"s3cr3t" not in client.received


@pytest.mark.parametrize("rest", [b"ZZ\r\n", b"5\r\nhelloGET /smuggled HTTP/1.1\r\n\r\n", b"0\r\nbad trailer\r\n\r\n"])
async def test_a_body_that_becomes_unreadable_is_ended_on_both_sides(backend: RecordingBackend, rest: bytes) -> None:
    """The backend, which waits for the rest, sees no end of the body but that of its connection."""
    async with House(backend) as house, connect(house.port) as client:
        head = wire.request("POST", "/up", [("Host", "localhost"), ("Transfer-Encoding", "chunked")])
        await client.send(head + b"5\r\nfirst\r\n")
        conversation = await backend.conversation()
        await eventually(lambda: b"first" in conversation.received, what="the first chunk at the backend")
        await client.send(rest)
        assert (await client.head()).status == 400
        await client.rest()
        await eventually(lambda: conversation.ended, what="the end of the backend's connection")
    assert b"smuggled" not in conversation.received
    assert b"0\r\n\r\n" not in conversation.received
