"""A real EventSource: it comes back when it may, and stops when it is told no."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.scenarios import servers
from tests.support.browser import visit
from tests.support.guard import Guard

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTEN = """() => {
  const seen = (window.seen = { data: [], errors: [] });
  const source = (window.source = new EventSource("/ticks"));
  source.onmessage = ({ data }) => seen.data.push(data);
  source.onerror = () => seen.errors.push(source.readyState);
}"""
CONNECTING, CLOSED = 0, 2


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[tuple[str, Guard]]:
    async with servers.uvicorn() as url, Guard(url, servers.EVENTS) as guard:
        yield url, guard


async def test_it_comes_back_where_it_was_and_a_log_out_stops_it(browser: Browser, stage: tuple[str, Guard]) -> None:
    _, guard = stage
    page = await visit(browser, f"http://localhost:{guard.port}/", {"session": guard.issuer.token()})
    await page.evaluate(LISTEN)
    await page.wait_for_function("window.seen.data.length > 5")
    (listed,) = await guard.connections()
    assert (listed["stream"], listed["origin"]) == ("ServerSentEvents", f"http://localhost:{guard.port}")
    await guard.ask("DELETE", f"/v1/connections/{listed['id']}")
    await page.wait_for_function("window.seen.errors.length === 1")
    count = len(await page.evaluate("window.seen.data"))
    await page.wait_for_function(f"window.seen.data.length > {count + 3}")
    data = await page.evaluate("window.seen.data.filter((each) => each.startsWith('tick'))")
    assert data == [f"tick {number}" for number in range(1, len(data) + 1)], "none is lost, none is torn"
    await guard.ask("POST", "/v1/logout", {"subject": "ann"})
    await page.wait_for_function("window.source.readyState === 2")
    assert await page.evaluate("window.seen.errors") == [CONNECTING, CONNECTING, CLOSED]
    await guard.decided(reason="logged-out", stream="ServerSentEvents")
    await page.context.close()


async def test_a_foreign_page_hears_nothing(browser: Browser, stage: tuple[str, Guard]) -> None:
    url, guard = stage
    page = await visit(browser, url.replace("127.0.0.1", "evil.test"))
    await page.evaluate(
        LISTEN.replace('"/ticks"', f'"http://localhost:{guard.port}/ticks", {{ withCredentials: true }}')
    )
    await page.wait_for_function("window.source.readyState === 2")
    assert await page.evaluate("window.seen.data") == []
    await guard.decided(reason="origin-denied", stream="ServerSentEvents")
    await page.context.close()
