"""graphql-ws on both sides: the token is in the first message."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, ending, guarded
from tests.scenarios import servers
from tests.support import wire
from tests.support.client import connect
from tests.support.programs import Program, node

pytestmark = pytest.mark.asyncio(loop_scope="module")
APP = "https://app.example.com"
SUBPROTOCOL = "graphql-transport-ws"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app() -> AsyncIterator[tuple[str, Program]]:
    async with servers.npm_server("graphql-server.mjs") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(app: tuple[str, Program]) -> AsyncIterator[Place]:
    async with guarded("graphql-ws", app[0]) as standing:
        yield standing


def client(url: str, origin: str, token: str | None = None, query: str = "subscription { count(to: 3) }") -> Program:
    params = {} if token is None else {"token": token}
    address = f"{url}/graphql".replace("http", "ws")
    return node("graphql-client.mjs", url=address, headers={"Origin": origin}, params=params, query=query)


async def test_without_the_guard_every_page_subscribes(place: Place) -> None:
    async with client(place.app, FOREIGN) as page:
        await page.event("complete")
        assert [event["data"]["count"] for event in page.events("next")] == [1, 2, 3]


async def test_the_application_subscribes_with_its_token(place: Place, app: tuple[str, Program]) -> None:
    token = LOGIN.token(aud="graphql")
    async with client(place.guard.url, APP, token) as page:
        await page.event("complete")
        assert [event["data"]["count"] for event in page.events("next")] == [1, 2, 3]
    assert app[1].events("init")[-1]["params"] == {"token": token}
    assert app[1].events("connection")[-1]["protocol"] == SUBPROTOCOL


async def test_the_tokens_end_is_the_subscriptions(place: Place) -> None:
    """4401 in this library's words: it does not try again with the same token."""
    async with client(place.guard.url, APP, ending("bob", "graphql"), "subscription { count(to: 0) }") as page:
        await page.event("connected")
        gone = await page.event("gave-up")
        assert (gone["code"], gone["reason"]) == (4401, "session-expired")
        assert not page.events("retrying")


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    assert await answer(place.guard, "/graphql", origin=FOREIGN, subprotocols=SUBPROTOCOL) == (4400, "origin-denied")
    assert await answer(place.guard, "/graphql", origin=APP, subprotocols="graphql-ws") == (4406, "subprotocol-denied")
    for token in (None, LOGIN.token(aud="shop")):
        async with client(place.guard.url, APP, token) as page:
            assert (await page.event("gave-up"))["code"] == 4401
    async with connect(place.guard.port) as silent:
        await silent.open(wire.upgrade("/graphql", host=f"127.0.0.1:{place.guard.port}", origin=APP))
        assert (await silent.close_frame(15))[1].startswith("first-message-timeout")
    assert place.witness.heads == []
