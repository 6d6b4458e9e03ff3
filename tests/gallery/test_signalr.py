"""SignalR's own client, in Chromium and in Node.js. The hub is a stand-in that speaks the documented protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gallery.apps.signalr_hub import Hub, signalr_hub
from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, ending, guarded
from tests.support.browser import chromium, visit
from tests.support.programs import node

pytestmark = pytest.mark.asyncio(loop_scope="module")

_START = """async ([token]) => {
  const build = new signalR.HubConnectionBuilder().withUrl("/chat", { accessTokenFactory: () => token });
  const connection = build.configureLogging(signalR.LogLevel.None).build();
  window.ended = new Promise((resolve) => connection.onclose((error) => resolve(error?.message)));
  try { await connection.start(); } catch (error) { return error.message; }
  return connection.invoke("Shout", "hello");
}"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with signalr_hub() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(hub: Hub) -> AsyncIterator[Place]:
    async with guarded("signalr", hub.url) as standing:
        yield standing


async def test_without_the_guard_a_foreign_page_is_as_good_as_any(hub: Hub) -> None:
    """A real hub has no list of origins either, until it is given one."""
    options = {
        "url": f"{hub.url}/chat",
        "tokens": [LOGIN.token(aud="chat")],
        "headers": {"Origin": FOREIGN},
        "skipNegotiation": True,
    }
    async with node("signalr-client.mjs", **options) as client:
        assert (await client.event("answer"))["answer"] == "HELLO"


async def test_a_browser_shows_its_token_in_the_query(place: Place, hub: Hub) -> None:
    """Admitted, cut at its log-out with words that the library passes on, and not let in again."""
    token = LOGIN.token("ann", aud="chat")
    home = f"http://signalr.test:{place.guard.port}/"
    async with chromium() as browser:
        page = await visit(browser, home)
        assert await page.evaluate(_START, [token]) == "HELLO"
        assert hub.tokens[-1] == token
        await place.guard.ask("POST", "/v1/logout", {"subject": "ann"})
        assert "4441 (logged-out)" in await page.evaluate("() => window.ended")
        assert "4441 (logged-out)" in await page.evaluate(_START, [token])
    line = await place.guard.decided(reason="logged-out")
    assert token not in str(line)


async def test_a_program_shows_it_in_a_header_and_comes_back_with_a_new_one(place: Place) -> None:
    tokens = [ending("bob", "chat"), LOGIN.token("bob", aud="chat")]
    async with node("signalr-client.mjs", url=f"{place.guard.url}/chat", tokens=tokens) as client:
        assert (await client.event("answer"))["answer"] == "HELLO"
        assert "4440 (session-expired)" in (await client.event("reconnecting"))["message"]
        assert (await client.event("answer", count=2))["answer"] == "HELLO"


async def test_nobody_else_reaches_the_hub(place: Place) -> None:
    place.witness.heads.clear()
    token = LOGIN.token("eve", aud="chat")
    for target, origin, expected in (
        (f"/chat?id=x&access_token={token}", FOREIGN, (4403, "origin-denied")),
        ("/chat?id=x", place.guard.url, (4401, "credential-missing")),
        (f"/chat?id=x&access_token={LOGIN.token(aud='shop')}", place.guard.url, (4401, "credential-invalid")),
    ):
        assert await answer(place.guard, target, origin=origin) == expected
    assert place.witness.heads == []
