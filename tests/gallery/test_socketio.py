"""A Socket.IO application, and its own client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, guarded
from tests.scenarios import servers
from tests.support import wire
from tests.support.client import connect
from tests.support.programs import Program, node

pytestmark = pytest.mark.asyncio(loop_scope="module")
TARGET = "/socket.io/?EIO=4&transport=websocket"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app() -> AsyncIterator[tuple[str, Program]]:
    """The application as the policy asks for it: no polling."""
    async with servers.npm_server("socketio-server.mjs", transports=["websocket"]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(app: tuple[str, Program]) -> AsyncIterator[Place]:
    async with guarded("socketio", app[0]) as standing:
        yield standing


def client(url: str, origin: str, token: str = "") -> Program:
    headers = {"Origin": origin, **({"Cookie": f"session={token}"} if token else {})}
    return node("socketio-client.mjs", url=url, headers=headers, transports=["websocket"])


async def test_without_the_guard_every_page_talks_in_its_visitors_name(place: Place, app: tuple[str, Program]) -> None:
    async with client(place.app, FOREIGN, "the-visitors") as page:
        assert (await page.event("answer"))["answer"] == "HELLO"
        assert app[1].events("connection")[-1]["cookie"] == "session=the-visitors"


async def test_the_application_works_and_a_logout_cuts(place: Place, app: tuple[str, Program]) -> None:
    async with client(place.guard.url, place.guard.url, LOGIN.token(aud="chat")) as page:
        assert (await page.event("answer"))["same"]
        assert app[1].events("connection")[-1]["user"] == "ann"
        await place.guard.ask("POST", "/v1/logout", {"subject": "ann"})
        assert await page.event("disconnect") == {"event": "disconnect", "reason": "transport close", "code": 4441}


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    cookie = [("Cookie", f"session={LOGIN.token(aud='chat')}")]
    assert await answer(place.guard, TARGET, origin=FOREIGN, fields=cookie) == (4403, "origin-denied")
    assert await answer(place.guard, TARGET, fields=cookie) == (4403, "origin-denied")
    async with client(place.guard.url, place.guard.url) as page:
        await page.event("connect_error")
    async with connect(place.guard.port) as raw:
        await raw.send(wire.upgrade(TARGET, host=f"127.0.0.1:{place.guard.port}", origin=place.guard.url))
        assert (await raw.head()).status == 401
    assert place.witness.heads == []


async def test_there_is_no_other_way_in(place: Place) -> None:
    """The guard passes polling on, unjudged; the application has none."""
    url = f"{place.guard.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Origin": FOREIGN}) as response:
        assert response.status == 400
        assert (await response.json())["message"] == "Transport unknown"
