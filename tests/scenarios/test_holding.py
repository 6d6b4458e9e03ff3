"""The backend restarts, the client stays: real servers that die and come back, real clients that notice a hint only."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve

from tests.support.guard import Guard, policy
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need, node
from tests.support.waiting import eventually

MISSING = "origin: {missing: Allow}\n"
GRAPHQL = f"{MISSING}backendLoss: Hold\nhold: {{protocol: graphql-ws, replay: {{messages: 10}}}}"
HINT = '{"type":"replaced"}'
JSON = f"""{MISSING}backendLoss: Hold
hold:
  protocol: custom
  hint: '{HINT}'
  replay: {{messages: 4, jsonPath: type, values: [subscribe]}}
"""


@pytest.mark.parametrize("graceful", [True, False], ids=["1001", "killed"])
async def test_a_graphql_subscription_comes_back(graceful: bool) -> None:
    """On npm's graphql-ws, whose client has no retries left to fall back on."""
    port = free_port()
    async with Guard(f"http://127.0.0.1:{port}", policy(GRAPHQL)) as guard, AsyncExitStack() as servers:
        old = node("graphql-server.mjs", port=port, name="old", graceful=graceful)
        await servers.enter_async_context(old)
        await old.event("listening")
        async with node("held-client.mjs", url=f"{guard.ws}/graphql") as client:
            await client.event("tick", count=3)
            assert not (await old.event("connection"))["extensions"], "no compression, whose context would be lost"
            await old.end()
            (connection,) = await eventually(lambda: _held(guard))
            assert connection["state"] == "held"
            assert await guard.metric("wsguard_connections_held") == 1
            async with node("graphql-server.mjs", port=port, name="new", graceful=graceful) as new:
                assert int((await new.event("connection"))["redial"]) >= 1
                assert (await client.event("told"))["payload"] == {"type": "backend-replaced"}
                await eventually(lambda: client.events("tick")[-1]["tick"].startswith("new"))
                ticks = [event["tick"] for event in client.events("tick")]
                assert "new 1" in ticks
                assert [len(client.events(name)) for name in ("closed", "error", "complete")] == [0, 0, 0]
                log = await guard.log({"event": "connection_rejoined"})
                assert (log["repeated"], log["lost"]) == (2, 0), "connection_init and subscribe"
                await guard.log({"event": "connection_held", "connection_id": log["connection_id"]})
                assert await guard.metric("wsguard_redials_total", result="joined") == 1
                assert await guard.metric("wsguard_connections_held") == 0


async def _held(guard: Guard) -> list[dict[str, object]]:
    return [each for each in await guard.connections() if each["state"] == "held"]


class Feed:
    """A JSON backend on `websockets`: who subscribes is answered, what is said is counted."""

    def __init__(self) -> None:
        self.port = free_port()
        self.said: Counter[str] = Counter()
        self.redials: list[str] = []
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self._server = await serve(self._talk, "127.0.0.1", self.port, compression=None)

    async def stop(self) -> None:
        """Say 1001 to everyone and end."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.redials += socket.request.headers.get_all("X-Wsguard-Redial")
        async for text in socket:
            self.said[str(text)] += 1
            message = json.loads(text)
            if message["type"] == "subscribe":
                await socket.send(json.dumps({"type": "subscribed", "who": message["who"]}))


@asynccontextmanager
async def feed() -> AsyncIterator[tuple[Feed, Guard]]:
    served = Feed()
    await served.start()
    async with Guard(f"http://127.0.0.1:{served.port}", policy(JSON)) as guard:
        yield served, guard
    await served.stop()


def subscribe(who: int) -> str:
    return json.dumps({"type": "subscribe", "who": who})


async def test_two_hundred_stay_over_a_restart() -> None:
    """Each says one thing while there is nobody: once is how often it is heard. What is subscribed is so again."""
    async with feed() as (served, guard), AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(connect(guard.ws)) for _ in range(200)]
        for who, client in enumerate(clients):
            await client.send(subscribe(who))
            assert json.loads(await client.recv()) == {"type": "subscribed", "who": who}
        await served.stop()
        await eventually(lambda: _count(guard, 200))
        for who, client in enumerate(clients):
            await client.send(json.dumps({"type": "pay", "who": who}))
        await served.start()
        await asyncio.gather(*(_comes_back(who, client) for who, client in enumerate(clients)))
        await eventually(lambda: len(served.said) == 400)
        counts = {kind: {n for text, n in served.said.items() if kind in text} for kind in ("pay", "subscribe")}
        assert counts == {"pay": {1}, "subscribe": {2}}
        assert len(served.redials) == 200
        assert await guard.metric("wsguard_redials_total", result="joined") == 200
        assert await guard.metric("wsguard_redials_total", result="failed") < 30, "while it was away one asked for all"
        assert not [line for line in guard.logs if line["event"] == "connection_closed"]


async def _count(guard: Guard, count: int) -> bool:
    return await guard.metric("wsguard_connections_held") == count


async def _comes_back(who: int, client: ClientConnection) -> None:
    async with asyncio.timeout(20):
        assert await client.recv() == HINT
        assert json.loads(await client.recv()) == {"type": "subscribed", "who": who}


async def test_nobody_comes_and_the_client_is_told() -> None:
    served = Feed()
    await served.start()
    spec = policy(JSON.replace("protocol: custom", "protocol: custom\n  giveUpAfter: 1s"))
    async with Guard(f"http://127.0.0.1:{served.port}", spec) as guard, connect(guard.ws) as client:
        await client.send(subscribe(1))
        await client.recv()
        await served.stop()
        await client.wait_closed()
        assert client.close_code == 1014
        assert str(client.close_reason).startswith("backend-lost retry-after=")
        ended = await guard.ended(reason="backend-lost")
        assert (ended["initiator"], ended["phase"]) == ("backend", "held")


async def test_a_broker_keeps_its_sessions_to_itself(tmp_path: Path) -> None:
    """`protocol: mqtt` does not load; and what speaks MQTT under a policy for something else is not held."""
    port = free_port()
    settings = tmp_path / "mosquitto.conf"
    listeners = f"listener {free_port()} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n"
    settings.write_text(f"{listeners}allow_anonymous true\n")
    async with AsyncExitStack() as brokers, Guard(f"http://127.0.0.1:{port}", policy(JSON)) as guard:
        broker = await brokers.enter_async_context(Program(need("mosquitto"), "-c", settings))
        await listening(port)
        async with node("mqtt-client.mjs", url=f"{guard.ws}/mqtt") as client:
            await client.event("message")
            declined = await guard.log({"event": "hold_declined"})
            assert "the broker keeps a session for each connection" in declined["detail"]
            await broker.end()
            assert (await client.event("close"))["code"] == 1014
        guard.write("policy.yaml", policy(JSON.replace("custom", "mqtt")))
        refused = await guard.log({"event": "reload_refused"})
        assert "mqtt cannot be held: the broker keeps a session for each connection" in refused["error"]
