"""Event streams of Starlette and long polls of Socket.IO, behind a guard that judges them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios import servers
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import node
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLLS = policy(
    f"match: {{paths: [{{type: PathPrefix, value: /socket.io}}]}}\nstreams: [WebSocket, LongPolling]\n{JWT}", "polls"
)
HERE = {"Sec-Fetch-Site": "same-origin", "Accept": "text/event-stream"}
WHOLE = re.compile(rb"data: hello ann\n\n(id: (\d+)\ndata: tick \2\n\n)*: [a-z-]+\n(retry: \d+\n)?\n")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def guard() -> AsyncIterator[Guard]:
    async with servers.uvicorn() as url, Guard(url, servers.EVENTS) as started:
        yield started


def ticks(guard: Guard, lives: float = 3600.0) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        guard.url, headers=HERE | {"Cookie": f"session={guard.issuer.token(lives=lives)}", "X-User": "root"}
    )


async def test_a_stream_ends_when_its_token_does(guard: Guard) -> None:
    async with ticks(guard, 6.0) as session:
        async with session.get("/ticks") as response:
            (listed,) = await guard.connections()
            assert (listed["stream"], listed["subject"], listed["origin"]) == ("ServerSentEvents", "ann", guard.url)
            assert await guard.metric("wsguard_streams", stream="ServerSentEvents") == 1
            assert await guard.metric("wsguard_connections", policy="events") == 1
            body = await response.read()  # which is whole: the end is the end of a chunked body
        assert WHOLE.fullmatch(body)
        assert body.endswith(b"\n\n: session-expired\n\n")
        async with session.get("/ticks") as response:
            assert (response.status, await response.text()) == (401, "credential-expired\n")
            assert int(response.headers["Retry-After"]) >= 5
    ended = await guard.ended(reason="session-expired", stream="ServerSentEvents", delivery="sent")
    assert ended["messages_from_backend"] > 10
    assert (await guard.decided(reason="credential-expired"))["stream"] == "ServerSentEvents"


async def test_a_log_out_ends_it_and_a_foreign_page_never_begins(guard: Guard) -> None:
    async with ticks(guard) as session:
        async with session.get("/ticks", headers={"Origin": "https://evil.example"}) as response:
            assert (response.status, await response.text()) == (403, "origin-denied\n")
        async with session.get("/ticks") as response:
            await response.content.readuntil(b"tick 3\n\n")
            await guard.ask("POST", "/v1/logout", {"subject": "ann"})
            assert (await response.read()).endswith(b"\n\n: logged-out\n\n")
        async with session.get("/ticks") as response:
            assert (response.status, await response.text()) == (401, "logged-out\n")


async def test_socketio_polls_under_the_rules() -> None:
    """Its client logs in with a cookie, polls, and learns of the log-out from the poll that waits."""
    async with (
        servers.npm_server("socketio-server.mjs") as (url, app),
        Guard(url, POLLS) as guard,
        aiohttp.ClientSession(guard.url) as stranger,
    ):
        target = "/socket.io/?EIO=4&transport=polling"
        async with stranger.get(target, headers={"Origin": "https://evil.example"}) as response:
            assert (response.status, await response.text()) == (403, "origin-denied\n")
        async with stranger.get(target.replace("io/?", "io//?")) as response:
            assert response.status == 400
        async with stranger.get(target) as response:
            assert (response.status, await response.text()) == (401, "credential-missing\n")
        headers = {"Origin": guard.url, "Cookie": f"session={guard.issuer.token()}"}
        async with node("socketio-client.mjs", url=guard.url, headers=headers, transports=["polling"]) as client:
            answer = await client.event("answer")
            assert (answer["answer"], answer["same"], answer["transport"]) == ("HELLO", True, "polling")
            assert len(app.events("connection")) == 1
            polls = await eventually(guard.connections, what="the poll that waits")
            assert {poll["stream"] for poll in polls} == {"LongPolling"}
            await guard.ask("POST", "/v1/logout", {"subject": "ann"})
            assert (await client.event("disconnect"))["reason"] == "transport error"
        await guard.ended(reason="logged-out", stream="LongPolling", delivery="sent")
        async with stranger.get(target, headers=headers) as response:
            assert (response.status, await response.text()) == (401, "logged-out\n")


async def test_a_drain_ends_streams_whole(guard: Guard) -> None:
    """Last, for its guard takes nobody afterwards."""
    guard.issuer.token()
    async with aiohttp.ClientSession(guard.url, headers=HERE) as session:
        fresh = {"Cookie": f"session={guard.issuer.token(subject='bob')}"}
        async with session.get("/ticks", headers=fresh) as response:
            began = await response.content.readuntil(b"tick 2\n\n")
            await guard.ask("POST", "/v1/drain", {"window": "0s"})
            assert re.search(rb"\n\n: draining\nretry: \d+\n\n\Z", began + await response.read())
        async with session.get("/ticks", headers=fresh) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
        status, drain = await guard.ask("GET", "/v1/drain")
        assert (status, drain["remaining"]) == (200, 0)
