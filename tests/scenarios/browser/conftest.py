"""One browser for a module, and for each test a guard before an application of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.scenarios.browser.guarded import ANY_NAME, LOGIN, OPEN
from tests.scenarios.browser.stage import PAGE
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import chromium, visit
from tests.support.guard import Guard


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="module")
async def app() -> AsyncIterator[RecordingBackend]:
    async with RecordingBackend(answers.accept(echo=True), PAGE) as backend:
        yield backend


@pytest_asyncio.fixture(loop_scope="module")
async def guard(app: RecordingBackend) -> AsyncIterator[Guard]:
    async with Guard(app, {"open.yaml": OPEN, "login.yaml": LOGIN, "guard.yaml": ANY_NAME}) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, guard: Guard) -> AsyncIterator[Page]:
    opened = await visit(browser, f"http://app.test:{guard.port}/")
    yield opened
    await opened.context.close()
