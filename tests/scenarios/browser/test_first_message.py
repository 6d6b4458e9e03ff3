"""A page that says who it is in its first message, in a real browser, which is strict about what a 101 holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.scenarios.browser.test_close_codes import PAGE
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import PageSocket, chromium, open_socket, visit
from tests.support.guard import JWT, Guard, policy

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "app.site.test"
FIRST = "{firstMessage: {jsonPath: token, timeout: 2s}}"
SPEC = f"""
match: {{hostnames: [{HOST}]}}
{JWT.replace("{cookies: [session]}", FIRST)}
limits: {{subprotocols: [chat]}}
"""


class Stage(NamedTuple):
    """The app behind its guard, and the browser."""

    browser: Browser
    app: RecordingBackend
    guard: Guard

    async def socket(self, *protocols: str) -> PageSocket:
        """One that the app's own page has opened."""
        page = await visit(self.browser, f"http://{HOST}:{self.guard.port}/")
        return await open_socket(page, f"ws://{HOST}:{self.guard.port}/ws", protocols)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One browser for all."""
    async with (
        chromium() as browser,
        RecordingBackend(answers.accept("chat", echo=True), PAGE) as app,
        Guard(app, policy(SPEC)) as guard,
    ):
        yield Stage(browser, app, guard)


async def test_a_page_that_says_who_it_is(stage: Stage) -> None:
    """The app hears the second message and never sees the token; the compression it offers is not agreed to."""
    socket = await stage.socket("other", "chat")
    assert await socket.opened() == "chat"
    before = len(stage.app.upgrades)
    token = stage.guard.issuer.token()
    await socket.send(json.dumps({"token": token}))
    await socket.send("what is it you know?")
    assert await socket.message() == "what is it you know?"
    assert len(stage.app.upgrades) == before + 1
    head = stage.app.upgrades[-1]
    assert (head.all("sec-websocket-protocol"), head.get("sec-websocket-extensions")) == (["chat"], None)
    assert token.encode() not in stage.app.conversations[-1].received


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"token": "made up"}', (4401, "credential-invalid")),
        ("{}", (4401, "credential-missing")),
        ("hello", (4401, "credential-invalid")),
        ("x" * 9000, (1009, "message-too-big")),
        (None, (4408, "first-message-timeout")),
    ],
)
async def test_a_page_reads_why_it_may_not(stage: Stage, said: str | None, expected: tuple[int, str]) -> None:
    before = len(stage.app.upgrades)
    socket = await stage.socket("chat")
    await socket.opened()
    if said is not None:
        await socket.send(said)
    closed = await socket.closed()
    assert (closed.code, closed.reason.split()[0], closed.clean, closed.opened) == (*expected, True, True)
    assert len(stage.app.upgrades) == before


async def test_a_page_reads_that_its_subprotocol_is_not_spoken_here(stage: Stage) -> None:
    closed = await (await stage.socket("other")).closed()
    assert closed == (4406, "subprotocol-denied", True, True)


async def test_a_backend_that_breaks_the_promise(stage: Stage) -> None:
    """The page has its subprotocol already: it reads a code."""
    usual, stage.app.answer = stage.app.answer, answers.accept()
    try:
        socket = await stage.socket("chat")
        await socket.send_when_open(json.dumps({"token": stage.guard.issuer.token()}))
        assert await socket.closed() == (4406, "subprotocol-denied", True, True)
    finally:
        stage.app.answer = usual
