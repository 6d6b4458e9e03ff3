"""Make before break: each library hears the hint in its own language, overlaps, and comes back after its close.

Socket.IO, graphql-ws and mosquitto are the real servers; SignalR and Phoenix are stand-ins that speak the documented
protocol (tests/npm/dialect-server.mjs). The clients are the real libraries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.scenarios import servers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need, node
from tests.support.waiting import eventually

MISSING = "origin: {missing: Allow}\n"
PATHS = {"socket.io": "", "signalr": "/hub", "graphql-ws": "/graphql", "phoenix": "/socket", "mqtt5": "/mqtt"}
ANSWERS = {"socket.io": "STILL", "signalr": "STILL", "graphql-ws": "world", "phoenix": "STILL"}


@asynccontextmanager
async def server(dialect: str, folder: Path) -> AsyncIterator[str]:
    """Whom the library talks to."""
    match dialect:
        case "socket.io" | "graphql-ws":
            script = {"socket.io": "socketio-server.mjs", "graphql-ws": "graphql-server.mjs"}[dialect]
            async with servers.npm_server(script) as (url, _):
                yield url
        case "mqtt5":
            port = free_port()
            settings = folder / "mosquitto.conf"
            listeners = f"listener {free_port()} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n"
            settings.write_text(f"{listeners}allow_anonymous true\n")
            async with Program(need("mosquitto"), "-c", settings):
                await listening(port)
                yield f"http://127.0.0.1:{port}"
        case _:
            async with servers.npm_server("dialect-server.mjs", dialect=dialect) as (url, _):
                yield url


@asynccontextmanager
async def library(dialect: str, folder: Path) -> AsyncIterator[tuple[Guard, Guard, Program]]:
    """The guard that will drain, the one that stays, and the library behind the first."""
    spec = policy(f"{MISSING}migration: {{hint: {{dialect: {dialect}, grace: 3s}}}}")
    async with server(dialect, folder) as url, Guard(url, spec) as old, Guard(url, spec) as new:
        addresses = {"url": old.ws + PATHS[dialect], "next": new.ws + PATHS[dialect]}
        async with node("migrating-client.mjs", dialect=dialect, **addresses) as client:
            await client.event("open")
            yield old, new, client


@pytest.mark.parametrize("dialect", ANSWERS)
async def test_the_next_connection_is_open_while_the_old_one_works(dialect: str, tmp_path: Path) -> None:
    """And when the old one is closed, the library means to come back by itself, and does."""
    async with library(dialect, tmp_path) as (old, new, client):
        await old.ask("POST", "/v1/drain", {"window": "6s"})
        await client.event("hinted")
        overlap = await client.event("overlap")
        assert overlap["answer"] == ANSWERS[dialect]
        assert not client.events("closed"), "the old one is closed after the overlap"
        assert len(await new.connections()) == 1
        closed = await client.event("closed")
        assert closed.get("code", 1012) == 1012
        drain = (await old.ask("GET", "/v1/drain"))[1]
        assert (drain["total"], drain["hinted"]) == (1, 1)
        await old.ask("DELETE", "/v1/drain")
        await client.event("open", count=2)
        assert not client.events("gave-up")


async def test_mqtt_has_a_goodbye_and_no_hint(tmp_path: Path) -> None:
    """DISCONNECT with 0x8B, Server shutting down (MQTT 5 §3.14.2.1); the library comes back."""
    async with library("mqtt5", tmp_path) as (old, _, client):
        await old.ask("POST", "/v1/drain", {"window": "1s"})
        assert (await client.event("goodbye"))["reasonCode"] == 0x8B
        await client.event("closed")
        await old.ask("DELETE", "/v1/drain")
        await client.event("open", count=2)
        assert not client.events("error")


@pytest.mark.parametrize(
    ("dialect", "subprotocol"),
    [("graphql-ws", "graphql-ws"), ("graphql-ws", None), ("mqtt5", None), ("signalr", "chat"), ("phoenix", "chat")],
)
async def test_nothing_is_said_to_whom_would_not_understand(
    backend: RecordingBackend, dialect: str, subprotocol: str | None
) -> None:
    """Another protocol was negotiated, or none: the Close alone says it."""
    spec = policy(f"migration: {{hint: {{dialect: {dialect}}}}}")
    async with Guard(backend, spec) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade(subprotocols=subprotocol))
        await guard.ask("POST", "/v1/drain", {"window": "0s"})
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (1012, "draining")


async def test_a_text_of_the_policys_own(backend: RecordingBackend) -> None:
    """It comes between two messages, the connection works on for the grace, and then it is closed."""
    spec = policy("""migration: {hint: {dialect: custom, message: '{"type":"reconnect"}', grace: 1s}}""")
    async with Guard(backend, spec) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        far = await backend.conversation()
        await far.send(wire.frame(wire.TEXT, b"begun ", fin=False, masked=False))
        await guard.ask("POST", "/v1/drain", {"window": "4s"})
        frames = [await client.frame()]
        await eventually(lambda: _hinted(guard))
        await far.send(wire.frame(wire.CONTINUATION, b"and done", masked=False))
        frames += [await client.frame(), await client.frame()]
        assert [frame.payload for frame in frames] == [b"begun ", b"and done", b'{"type":"reconnect"}']
        await client.send(wire.frame(wire.TEXT, b"still here"))
        assert (await far.frame()).payload == b"still here"
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (1012, "draining")


async def _hinted(guard: Guard) -> bool:
    _, drain = await guard.ask("GET", "/v1/drain")
    return bool(drain["hinted"])
