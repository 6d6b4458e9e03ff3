"""A page that says who it is in its first message, in a real browser, which is strict about what a 101 holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.scenarios.browser.stage import APP, Stage, staged
from tests.support import backend as answers
from tests.support.browser import PageSocket, open_socket, visit
from tests.support.guard import JWT

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = "{firstMessage: {jsonPath: token, timeout: 4s}}"
SPEC = f"""
match: {{hostnames: [{APP}]}}
{JWT.replace("{cookies: [session]}", FIRST)}
limits: {{subprotocols: [chat]}}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged(SPEC, answers.accept("chat", echo=True)) as made:
        yield made


async def opened(stage: Stage, *protocols: str) -> PageSocket:
    """A socket that the app's own page has opened, where nobody is logged in."""
    return await open_socket(await visit(stage.browser, stage.home), stage.socket, protocols)


async def test_a_page_that_says_who_it_is(stage: Stage) -> None:
    """The app hears the second message and never sees the token; the compression it offers is not agreed to."""
    socket = await opened(stage, "other", "chat")
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
    socket = await opened(stage, "chat")
    await socket.opened()
    if said is not None:
        await socket.send(said)
    closed = await socket.closed()
    assert (closed.code, closed.reason.split()[0], closed.clean, closed.opened) == (*expected, True, True)
    assert len(stage.app.upgrades) == before


async def test_a_page_reads_that_its_subprotocol_is_not_spoken_here(stage: Stage) -> None:
    closed = await (await opened(stage, "other")).closed()
    assert closed == (4406, "subprotocol-denied", True, True)


async def test_a_backend_that_breaks_the_promise(stage: Stage) -> None:
    """The page has its subprotocol already: it reads a code."""
    usual, stage.app.answer = stage.app.answer, answers.accept()
    try:
        socket = await opened(stage, "chat")
        await socket.send_when_open(json.dumps({"token": stage.guard.issuer.token()}))
        assert await socket.closed() == (4406, "subprotocol-denied", True, True)
    finally:
        stage.app.answer = usual
