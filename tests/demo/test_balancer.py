"""The balancer of the deploys knows who is ready, and carries bytes and ends both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.waiting import eventually
from wsguard.demo.balancer import Balancer


@dataclass
class Replica:
    """Answers each line with its name, until the client's end comes; `status` is what its probe says."""

    name: str
    port: int = 0
    probes: list[str] = field(default_factory=list)
    is_ending: bool = False
    status: int = 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(f"{self.name}\n".encode())
        writer.write(b"bye\n")
        writer.close()

    async def probe(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status)

    async def start(self, stack: AsyncExitStack) -> None:
        server = await stack.enter_async_context(await asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        app = web.Application()
        app.router.add_get("/readyz", self.probe)
        self.probes = [str((await stack.enter_async_context(TestServer(app))).make_url("/readyz"))]


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[Balancer, Replica, Replica]]:
    async with AsyncExitStack() as stack:
        a, b = Replica("a"), Replica("b")
        for replica in (a, b):
            await replica.start(stack)
        balancer = await stack.enter_async_context(Balancer())
        balancer.replicas += [a, b]
        for replica in (a, b):
            await balancer.until_ready(replica)
        yield balancer, a, b


async def who(balancer: Balancer) -> str:
    """Whom a new connection reaches; "" where nobody takes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
    try:
        writer.write(b"who\n")
        return (await reader.readline()).decode().strip()
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def reached(balancer: Balancer) -> set[str]:
    return {await who(balancer) for _ in range(4)}


async def test_only_who_is_ready_gets_new_connections(replicas: tuple[Balancer, Replica, Replica]) -> None:
    balancer, a, b = replicas

    async def reach(names: set[str]) -> None:
        async def do() -> bool:
            return await reached(balancer) == names

        await eventually(do, what=f"only {names} are reached")

    assert await reached(balancer) == {"a", "b"}
    a.status = 503
    await reach({"b"})
    b.is_ending = True
    await reach({""})
    a.status = 200
    await reach({"a"})


async def test_a_connection_stays_and_its_ends_are_passed_on(replicas: tuple[Balancer, Replica, Replica]) -> None:
    balancer, a, b = replicas
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
    writer.write(b"who\n")
    first = await reader.readline()
    a.is_ending = b.is_ending = True
    await eventually(lambda: _has_nobody(balancer), what="nobody is ready")
    writer.write(b"who\n")
    assert await reader.readline() == first
    writer.write_eof()
    assert await reader.read() == b"bye\n"
    writer.close()


async def _has_nobody(balancer: Balancer) -> bool:
    return await who(balancer) == ""
