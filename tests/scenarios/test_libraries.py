"""Clients and servers that nobody here wrote talk through the guard, compressed where they can."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed

from tests.scenarios import servers
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import node

DEFLATE = "permessage-deflate"
MESSAGES = ["hello", "é" * 20_000, "", "x" * 70_000]
GUARDED = policy(JWT)


@pytest.fixture(params=["websockets_echo", "aiohttp_echo", "npm_echo"])
async def any_server(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Each of the echo servers in turn."""
    async with getattr(servers, request.param)() as url:
        yield url


async def test_websockets_client(any_server: str) -> None:
    """Compressed, with a subprotocol, a cookie, and a Ping end to end; the Close is the client's own."""
    async with Guard(any_server, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}"}
        async with websockets_connect(
            f"{guard.ws}/ws",
            additional_headers=headers,
            origin=guard.url,  # type: ignore[arg-type]
            subprotocols=["chat"],  # type: ignore[list-item]
            max_size=None,
        ) as socket:
            assert socket.subprotocol == "chat"
            assert [extension.name for extension in socket.protocol.extensions] == [DEFLATE]
            for message in MESSAGES:
                await socket.send(message)
                assert await socket.recv() == message
            await (await socket.ping())
            await socket.close(3001, "enough")
        end = await guard.ended()
        assert (end["reason"], end["code"]) == ("client-closed", 3001)


async def test_aiohttp_client(any_server: str) -> None:
    """The same with aiohttp's client."""
    async with Guard(any_server, GUARDED) as guard, aiohttp.ClientSession() as session:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        async with session.ws_connect(
            f"{guard.url}/ws", headers=headers, protocols=["chat"], compress=15, max_msg_size=0
        ) as socket:
            assert socket.protocol == "chat"
            assert socket.compress
            for message in MESSAGES:
                await socket.send_str(message)
                assert (await socket.receive_str()) == message


async def test_npm_ws_client(any_server: str) -> None:
    """The same with npm ws."""
    async with Guard(any_server, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        options = {"url": f"{guard.ws}/ws", "headers": headers, "protocols": ["chat"], "messages": MESSAGES}
        async with node("ws-client.mjs", **options) as client:
            assert (await client.event("close"))["code"] == 1000
        assert client.events("open") == [{"event": "open", "extensions": DEFLATE, "protocol": "chat"}]
        assert [event["same"] for event in client.events("message")] == [True] * len(MESSAGES)


@pytest.mark.parametrize("offer", [[], ["chat"]])
async def test_refusals_are_read_by_every_client(offer: list[str]) -> None:
    """Accept, then close: each library sees an open and the code."""
    async with Guard("http://127.0.0.1:9", GUARDED) as guard:
        async with websockets_connect(f"{guard.ws}/ws", subprotocols=offer or None) as socket:  # type: ignore[arg-type]
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "credential-missing")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{guard.url}/ws", protocols=offer) as aio,
        ):
            message = await aio.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4401)
        options = {"url": f"{guard.ws}/ws", "protocols": offer, "stay": True}
        async with node("ws-client.mjs", **options) as client:
            assert (await client.event("close"))["code"] == 4401
            assert not client.events("error")


async def test_socket_io_polls_then_upgrades_on_one_port() -> None:
    """Long polling is plain HTTP to the guard, the upgrade a judged handshake; both reach the same app."""
    async with servers.npm_server("socketio-server.mjs") as (url, server), Guard(url, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        options = {"url": guard.url, "headers": headers}
        async with node("socketio-client.mjs", **options) as client:
            answer = await client.event("answer")
            assert answer == {"event": "answer", "answer": "HELLO", "same": True, "transport": "websocket"}
            assert client.events("connect")[0]["transport"] == "polling"
            assert (await server.event("upgrade"))["extensions"] == DEFLATE
            assert len(await guard.connections()) == 1
            await guard.ask("POST", "/v1/logout", {"subject": "ann"})
            assert (await client.event("disconnect"))["reason"] == "transport close"
            assert (await server.event("disconnect"))["reason"] == "transport close"
        async with aiohttp.ClientSession() as session, session.get(f"{guard.url}/") as response:
            assert await response.text() == "the app's own page"


async def test_socket_io_is_kept_from_upgrading_without_a_credential() -> None:
    """Straight to WebSocket, with no cookie. Its client only notices a status: an early Close it waits out."""
    spec = JWT + "rejection: {mode: HTTPStatus}"
    async with servers.npm_server("socketio-server.mjs") as (url, server), Guard(url, policy(spec)) as guard:
        async with node("socketio-client.mjs", url=guard.url, transports=["websocket"]) as client:
            await client.event("connect_error")
        assert (await guard.decided())["reason"] == "credential-missing"
        assert not server.events("connection")


async def test_graphql_ws() -> None:
    """A subscription, compressed, with its subprotocol."""
    async with servers.npm_server("graphql-server.mjs") as (url, server), Guard(url, GUARDED) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "Origin": guard.url}
        options = {
            "url": f"{guard.ws}/graphql",
            "headers": headers,
            "query": "subscription { count(to: 3) }",
        }
        async with node("graphql-client.mjs", **options) as client:
            await client.event("complete")
        assert [event["data"]["count"] for event in client.events("next")] == [1, 2, 3]
        (connection,) = server.events("connection")
        assert (connection["protocol"], connection["extensions"]) == ("graphql-transport-ws", DEFLATE)
        assert (await server.event("close"))["code"] == 1000


@pytest.mark.parametrize("app", ["daphne", "uvicorn"])
async def test_asgi_apps(app: str) -> None:
    """Django Channels and FastAPI: socket and pages on one port, identity in a header, a spoofed one gone."""
    spec = JWT + "    claimToHeaders: [{claim: sub, header: X-User}]\n"
    async with getattr(servers, app)() as url, Guard(url, policy(spec)) as guard:
        headers = {"Cookie": f"session={guard.issuer.token()}", "X-User": "root", "X_User": "root"}
        async with websockets_connect(
            f"{guard.ws}/ws",
            additional_headers=headers,
            origin=guard.url,  # type: ignore[arg-type]
            subprotocols=["chat"],  # type: ignore[list-item]
        ) as socket:
            greeting = json.loads(await socket.recv())
            got = greeting.get("headers", greeting)
            assert got["x-user"] == "ann"
            assert "x_user" not in got
            assert got["cookie"] == headers["Cookie"]
            assert got["x-forwarded-for"] == "127.0.0.1"
            assert socket.subprotocol == "chat"
            names = [extension.name for extension in socket.protocol.extensions]
            assert names == ([DEFLATE] if app == "uvicorn" else [])  # daphne never compresses
            await socket.send(json.dumps({"n": "é" * 70_000}))
            assert json.loads(await socket.recv()) == {"n": "é" * 70_000}
        end = await guard.ended()
        assert (end["reason"], end["code"]) == ("client-closed", 1000)
        async with aiohttp.ClientSession() as session, session.get(f"{guard.url}/nothing") as response:
            assert response.status in (200, 404)
