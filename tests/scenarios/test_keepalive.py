"""Real clients and servers answer the guard's pings, keep their own, and are missed when the cable is pulled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

from tests.scenarios import servers
from tests.scenarios.conftest import stands
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.guard import Guard, policy
from tests.support.network import Network, why_not
from tests.support.ports import free_port
from tests.support.programs import Program, node
from tests.support.waiting import eventually
from tests.support.wire import Head

OFTEN = policy("keepAlive: {clientPingInterval: 300ms, backendPingInterval: 300ms, timeout: 5s}")
CLIENTS = policy("keepAlive: {clientPingInterval: 500ms, timeout: 2s}")
BACKENDS = policy("keepAlive: {backendPingInterval: 500ms, timeout: 2s}")


async def pinged(guard: Guard, side: str, times: int) -> None:
    """Wait until that many pings have gone to `side`, of one connection that lives on."""

    async def enough() -> bool:
        return await guard.metric("wsguard_keepalive_pings_total", side=side) >= times

    await eventually(enough, what=f"{times} pings to the {side}")
    assert len(await guard.connections()) == 1


@pytest.mark.parametrize(
    "server",
    [*(pytest.param(name, marks=pytest.mark.extended) for name in ("websockets_echo", "aiohttp_echo")), "npm_echo"],
)
async def test_servers_answer(server: str) -> None:
    """Each answers, and says nothing of it to the client."""
    async with getattr(servers, server)() as url, Guard(url, OFTEN) as guard:
        options = {"url": f"{guard.ws}/ws", "protocols": ["chat"], "stay": True}
        async with node("ws-client.mjs", **options) as client:
            await client.event("open")
            await pinged(guard, "backend", 3)
            await pinged(guard, "client", 3)
            assert not client.events("pong")
            assert not client.events("close")


async def test_pings_of_peers_go_on_working_in_both_directions() -> None:
    """Both ends of `websockets` ping each other, and each gets the right pongs, and none of the guard's."""
    peers: list[ServerConnection] = []
    lost: list[object] = []

    async def echo(socket: ServerConnection) -> None:
        peers.append(socket)
        async for message in socket:
            await socket.send(message)
        lost.append((socket.close_code, socket.close_reason))

    async with serve(echo, "127.0.0.1", 0, ping_interval=0.25, ping_timeout=20.0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        spec = policy("keepAlive: {clientPingInterval: 150ms, backendPingInterval: 150ms, timeout: 5s}")
        async with (
            Guard(f"http://127.0.0.1:{port}", spec) as guard,
            websockets_connect(f"{guard.ws}/ws", ping_interval=0.2, ping_timeout=20.0) as client,
        ):
            await pinged(guard, "client", 3)
            await pinged(guard, "backend", 3)
            for end in (client, *peers):
                await answered(end, 3)
            await client.send("still there")
            assert await client.recv() == "still there"
    assert lost == [(1000, "")]


async def answered(end: Connection, times: int) -> None:
    """Wait until so many pings of `end` have had their pong: each measures the latency anew."""
    latencies = {end.latency}

    def enough() -> bool:
        latencies.add(end.latency)
        return len(latencies) > times

    await eventually(enough, what=f"{times} pongs")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cables() -> AsyncIterator[Network]:
    """For `network` only: no browser may be there meanwhile, and all have to be waited for once."""
    if (reason := await why_not()) is not None:
        pytest.skip(reason)
    async with Network(2) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def network(cables: Network) -> AsyncIterator[Network]:
    """Both cables are plugged in."""
    yield cables
    for link in range(2):
        await cables.restore(link)


CLIENT = """
import asyncio, sys
from websockets.asyncio.client import connect
async def main():
    async with connect(sys.argv[1], ping_interval=None) as socket:
        print("open")
        await asyncio.sleep(1000)
asyncio.run(main())
"""
SERVER = """
import asyncio, sys
from websockets.asyncio.server import serve
async def main():
    async with serve(lambda socket: socket.wait_closed(), sys.argv[1], int(sys.argv[2]), ping_interval=None) as server:
        print("serving")
        await asyncio.sleep(1000)
asyncio.run(main())
"""


@asynccontextmanager
async def far_client(
    network: Network, spec: str = CLIENTS, answer: answers.Answer | None = None
) -> AsyncIterator[tuple[Guard, RecordingBackend]]:
    """A guard whose one client is behind link 0, and its backend."""
    port = free_port()
    async with (
        RecordingBackend(answer) as backend,
        Guard(backend, spec, "--listen", f"0.0.0.0:{port}") as guard,
    ):
        url = f"ws://{network.here(0)}:{port}/ws"
        async with Program(*network.enter, sys.executable, "-c", CLIENT, url) as client:
            await client.line("open")
            yield guard, backend


@stands
async def test_a_client_whose_cable_is_pulled(network: Network) -> None:
    async with far_client(network) as (guard, backend):
        await pinged(guard, "client", 2)
        far = await backend.conversation()
        await network.silence(0)
        ended = await guard.ended()
        assert (ended["initiator"], ended["reason"]) == ("client", "keepalive-timeout")
        assert await far.until_ended() == "fin"
        labels = {"initiator": "client", "reason": "keepalive-timeout"}
        assert await guard.metric("wsguard_connections_closed_total", **labels) == 1


@stands
async def test_a_client_whose_cable_is_pulled_while_it_is_told_something(network: Network) -> None:
    """Megabytes wait for it then, and no ping has a place: it acknowledges nothing of them."""
    chunk = b"\x82\x7e\xfa\x00" + bytes(64_000)

    async def flood(conversation: answers.Conversation, head: Head) -> None:
        await conversation.send(answers.switching(head))
        while True:
            await conversation.send(chunk)
            await asyncio.sleep(0.01)

    async with far_client(network, answer=flood) as (guard, _):
        await network.silence(0)
        ended = await guard.ended()
        assert ended["reason"] == "keepalive-timeout"


@stands
async def test_a_backend_whose_cable_is_pulled(network: Network) -> None:
    port = free_port()
    where = (network.address(1), str(port))
    async with Program(*network.enter, sys.executable, "-c", SERVER, *where) as server:
        await server.line("serving")
        async with (
            Guard(f"http://{where[0]}:{port}", BACKENDS) as guard,
            websockets_connect(f"{guard.ws}/ws") as client,
        ):
            await pinged(guard, "backend", 2)
            await network.silence(1)
            await client.wait_closed()
            assert client.close_code == 1014
            assert (client.close_reason or "").startswith("backend-lost")
            ended = await guard.ended()
            assert (ended["initiator"], ended["reason"], ended["code"]) == ("backend", "keepalive-timeout", 1014)


@stands
@pytest.mark.extended
async def test_a_cable_that_is_pulled_for_a_moment_is_no_death(network: Network) -> None:
    spec = policy("keepAlive: {clientPingInterval: 500ms, timeout: 4s}")
    async with far_client(network, spec) as (guard, _):
        await pinged(guard, "client", 1)
        await network.silence(0)
        await asyncio.sleep(0.5)
        await network.restore(0)
        await pinged(guard, "client", 5)
