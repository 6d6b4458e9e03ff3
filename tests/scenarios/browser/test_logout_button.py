"""Somebody clicks "Log out" in a real browser, in an application that knows nothing of sockets that must end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.scenarios.servers import django_login
from tests.support.browser import chromium, open_socket, visit
from tests.support.guard import Guard, policy

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "app.site.test"
SPEC = """
match: {{hostnames: [{app}]}}
forwardAuth: {{url: "{url}/me", headersToExtAuth: [cookie], subjectFrom: {{jsonPath: user}}, cacheDuration: 1h}}
session: {{revalidateEvery: 24h, logoutDetection: {{cookies: [sessionid]}}}}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[tuple[Browser, Guard]]:
    async with (
        chromium() as browser,
        django_login() as url,
        Guard(url, policy(SPEC.format(app=APP, url=url))) as guard,
    ):
        yield browser, guard


async def logged_in(browser: Browser, guard: Guard) -> Page:
    page = await visit(browser, f"http://{APP}:{guard.port}/")
    await page.click("#login")
    await page.wait_for_function("document.title === 'ann'")
    return page


async def test_a_click_on_log_out_closes_the_sockets_of_every_tab(stage: tuple[Browser, Guard]) -> None:
    browser, guard = stage
    page = await logged_in(browser, guard)
    stranger = await logged_in(browser, guard)  # the same user in another browser: another session
    socket = await open_socket(page, url := f"ws://{APP}:{guard.port}/ws")
    other = await open_socket(stranger, url)
    assert await socket.message() == await other.message() == "hello ann"
    tab = await page.context.new_page()
    await tab.goto(page.url)
    await tab.click("#logout")
    await tab.wait_for_function("document.title === 'bye'")
    assert await socket.closed() == (4441, "logged-out", True, True)
    closed = await (await open_socket(page, url)).closed()
    assert (closed.code, closed.reason) == (4401, "credential-invalid"), "the browser has no session any more"
    await other.send("still here")
    assert await other.message(1) == "still here"
    for each in (page, stranger):
        await each.context.close()


async def test_a_foreign_page_that_forges_the_click_ends_nothing(stage: tuple[Browser, Guard]) -> None:
    """Django refuses the form for want of its token; and an image is no log-out."""
    browser, guard = stage
    page = await logged_in(browser, guard)
    socket = await open_socket(page, f"ws://{APP}:{guard.port}/ws")
    assert await socket.message() == "hello ann"
    evil = await page.context.new_page()
    await evil.set_content(f"<form method=post action=http://{APP}:{guard.port}/logout><button>win</button></form>")
    async with evil.expect_navigation():
        await evil.click("button")
    await evil.set_content(f"<img src=http://{APP}:{guard.port}/logout>")
    await socket.send("still here")
    assert await socket.message(1) == "still here"
    await page.context.close()
