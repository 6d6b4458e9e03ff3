"""How many the admin port bears, and who leaves when one more comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from tests.support import wire
from tests.support.client import RawClient, connect, fetch
from tests.support.waiting import eventually
from wsguard.ops.serving import MOST, serve

HOST = ("Host", "localhost")
SLOW, PROBE = (wire.request("GET", path, [HOST]) for path in ("/slow", "/probe"))
SAYING_NOTHING = {"nothing": b"", "half a head": PROBE[:20]}


class Port:
    """Answers /probe at once, and /slow once `gate` is open."""

    def __init__(self) -> None:
        self.gate, self.waiting = asyncio.Event(), 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """On that port."""
        app = web.Application()
        app.add_routes([web.get("/probe", self._probe), web.get("/slow", self._slow)])
        runner = await serve(app, "127.0.0.1", 0)
        assert runner.server is not None
        self.server = runner.server
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _probe(self, request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def _slow(self, request: web.Request) -> web.Response:
        self.waiting += 1
        await self.gate.wait()
        return web.Response(text="at last")


@asynccontextmanager
async def crowd(port: int, count: int, says: bytes) -> AsyncIterator[list[RawClient]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(port)) for _ in range(count)]
        for client in clients:
            await client.send(says)
        yield clients


@pytest.mark.parametrize("says", SAYING_NOTHING)
async def test_who_says_nothing_makes_room(says: str) -> None:
    at = Port()
    async with at.served() as port, crowd(port, 3 * MOST, SAYING_NOTHING[says]) as clients:
        head, body = await fetch(port, "/probe")
        assert (head.status, body) == (200, b"here")
        await eventually(lambda: len(at.server.connections) <= MOST)
        assert await clients[0].rest() == b""
        await clients[-1].send(PROBE[len(SAYING_NOTHING[says]) :])
        assert (await clients[-1].head()).status == 200


async def test_all_at_once_are_no_more() -> None:
    """Many arrive before any of them is known to have."""
    at = Port()
    async with at.served() as port, AsyncExitStack() as stack:
        coming = [stack.enter_async_context(connect(port)) for _ in range(3 * MOST)]
        await asyncio.gather(*coming)
        await eventually(lambda: len(at.server.connections) == MOST)


async def test_a_request_under_way_is_nobodys_room() -> None:
    at = Port()
    async with at.served() as port, crowd(port, MOST, SLOW) as clients:
        await eventually(lambda: at.waiting == MOST)
        async with connect(port) as late:
            assert await late.rest() == b""
        assert len(at.server.connections) == MOST
        at.gate.set()
        for client in clients:
            assert (await client.head()).status == 200


async def test_who_was_answered_is_idle_again() -> None:
    at = Port()
    async with at.served() as port, crowd(port, MOST, PROBE) as clients:
        for client in clients:
            assert await client.body(await client.head()) == b"here"
        head, _ = await fetch(port, "/probe")
        assert head.status == 200
        assert await clients[0].rest() == b""
