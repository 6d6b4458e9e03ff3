"""client.js comes back: after a drain, the network, the guard, a log-in; and without having been away."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.scenarios.browser.guarded import ANY_NAME, HINT, Client, logging_in, text
from tests.scenarios.browser.stage import HTML, PAGE
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.browser import put_cookies, visit
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import ROOT
from tests.support.waiting import eventually, stays
from tests.support.wire import Head

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORY = Path(__file__).with_name("client.html")
PICTURE = ROOT / "docs/images/client.png"


async def test_it_returns_when_the_guard_says_so(page: Page, guard: Guard, app: RecordingBackend) -> None:
    client = await Client.make(page, firstDelay=1)
    await client.event("open")
    await guard.ask("POST", "/v1/drain", {"window": "0s"})
    away = await client.event("away")
    assert (away["code"], away["advice"]) == (1012, "reconnect after retry-after")
    assert away["reason"] == f"draining retry-after={away['delay'] / 1000:g}"
    again = await client.event("away", 2)  # it came back, and the drain is not over
    assert again["at"] - away["at"] >= away["delay"] - 1
    await guard.ask("DELETE", "/v1/drain")
    await client.event("open", 2)
    await client.send("here again")
    assert (await client.event("message"))["data"] == "here again"


async def test_the_guard_is_gone_and_comes_back(page: Page, guard: Guard) -> None:
    client = await Client.make(page, firstDelay=200, maxDelay=400)
    await client.event("open")
    guard.program.process.kill()
    await guard.program.wait()
    assert (await client.event("away"))["code"] == 1006
    for number in range(3):
        await client.send(f"sent while away {number}")
    await client.event("away", 3)
    assert await client.state() == 0
    await guard.start()
    await client.event("message", 3)
    assert [event["data"] for event in await client.seen("message")] == [f"sent while away {n}" for n in range(3)]


async def test_it_is_back_as_soon_as_the_network_is(page: Page, guard: Guard) -> None:
    client = await Client.make(page, firstDelay=100_000, maxDelay=100_000)
    await client.event("open")
    await page.context.set_offline(True)
    guard.program.process.kill()  # an emulated absence leaves open sockets alone
    await guard.program.wait()
    assert (await client.event("away"))["delay"] == 100_000
    await guard.start()
    await page.context.set_offline(False)
    await client.event("open", 2)


async def test_a_socket_that_was_open_through_an_absence_is_replaced(page: Page, guard: Guard) -> None:
    """It may be dead without anybody's having noticed."""
    client = await Client.make(page, firstDelay=100)
    await client.event("open")
    await page.evaluate("() => dispatchEvent(new Event('online'))")
    await client.event("open", 2)
    assert not await client.seen("away")


async def test_the_session_expires_and_the_user_logs_in(browser: Browser, guard: Guard, app: RecordingBackend) -> None:
    app.respond = logging_in(guard, PAGE)
    page = await visit(browser, home := f"http://app.test:{guard.port}/")
    await put_cookies(page, home, {"session": guard.issuer.token(lives=4)})
    client = await Client.make(page, "/login", logIn="/log-me-in")
    await client.event("open")
    away = await client.event("away")
    assert (away["code"], away["reason"], away["advice"]) == (4440, "session-expired", "log in")
    await client.event("open", 2)
    await client.send("hello again")
    assert (await client.event("message"))["data"] == "hello again"
    assert len(await client.seen("log in")) == 1


async def test_it_renews_its_session_in_time(browser: Browser, guard: Guard, app: RecordingBackend) -> None:
    """A token of six seconds, renewed before each ends: the socket that was opened first lives on."""
    app.respond = logging_in(guard, PAGE, lives=6)
    page = await visit(browser, home := f"http://app.test:{guard.port}/")
    await put_cookies(page, home, {"session": guard.issuer.token(sid="s1", lives=6)})
    client = await Client.make(page, "/login", refresh="/refresh")
    await client.event("open")
    (connection,) = await guard.connections()
    await eventually(lambda: len(_posts(app)) >= 3, 20, "three refreshes")
    assert [seen["type"] for seen in await client.seen()] == ["open"]
    assert [now["id"] for now in await guard.connections()] == [connection["id"]]
    await page.context.close()


def _posts(app: RecordingBackend) -> list[Head]:
    return [head for head in app.requests if head.start.startswith("POST ")]


async def test_it_makes_before_it_breaks(page: Page, guard: Guard, app: RecordingBackend) -> None:
    app.answer = answers.accept()
    client = await Client.make(page, firstDelay=100, numbered=True)
    await client.event("open")
    old = await app.conversation(-1)
    await old.send(text(HINT))
    await client.event("open", 2)
    assert len(await guard.connections()) == 2  # the old one is still open when the new one fires open
    new = await app.conversation(-1)
    for conversation, number in ((old, 1), (new, 1), (new, 2), (old, 2), (old, 3)):
        await conversation.send(text(f'{{"id":{number}}}'))
    await client.event("message", 3)
    await client.send("to the new one")
    assert (await new.frame()).payload == b"to the new one"
    await old.send(wire.close_frame(1012, "migrating", masked=False))
    assert (await old.frame()).opcode == wire.CLOSE
    old.close()
    await eventually(lambda: _count(guard, 1), what="one connection")
    assert [event["data"] for event in await client.seen("message")] == [f'{{"id":{n}}}' for n in (1, 2, 3)]
    assert not await client.seen("away")
    assert await client.state() == 1


async def _count(guard: Guard, number: int) -> bool:
    return len(await guard.connections()) == number


async def test_a_hidden_page_that_was_idle_stays_away_until_it_is_shown(page: Page, app: RecordingBackend) -> None:
    app.answer = answers.accept()
    await page.evaluate(
        "() => Object.defineProperty(document, 'visibilityState', {get: () => window.shown ?? 'hidden'})"
    )
    client = await Client.make(page, firstDelay=1)
    await client.event("open")
    conversation = await app.conversation(-1)
    await conversation.send(wire.close_frame(4408, "idle-timeout", masked=False))
    conversation.close()
    away = await client.event("away")
    assert (away["advice"], away["delay"]) == ("reconnect when needed", float("inf"))
    await stays(lambda: len(app.upgrades) == 1, 0.5)
    await page.evaluate("() => { window.shown = 'visible'; document.dispatchEvent(new Event('visibilitychange')); }")
    await client.event("open", 2)


async def test_a_page_shows_what_it_lives_through(browser: Browser, app: RecordingBackend) -> None:
    """A session that expires, one that is renewed, the lid of a laptop, the server gone, a deploy."""
    session = 'session: {clockSkew: 0s, expiryHint: {message: \'{"type":"session-expiring"}\', before: 2s}}'
    async with Guard(app, {"policy.yaml": policy(f"{JWT}\n{session}"), "guard.yaml": ANY_NAME}) as guard:
        story = answers.reply(200, STORY.read_bytes(), HTML)
        app.respond = logging_in(guard, story, lives=9)  # longer than a connection takes to count as steady
        page = await visit(browser, f"http://app.test:{guard.port}/", {"session": guard.issuer.token(lives=6)})

        async def happens(chapter: str, *kinds: str, act: Callable[[], Awaitable[object]] | None = None) -> None:
            await page.evaluate("(text) => window.log('story', text)", chapter)
            if act is not None:
                await act()
            for kind in kinds:
                await eventually(partial(_came, page, kind, kinds.count(kind)), 25, f"{kind} in {chapter}")

        async def lid() -> None:
            await page.context.set_offline(True)
            await page.context.set_offline(False)

        async def gone() -> None:
            guard.program.process.kill()
            await guard.program.wait()
            await eventually(lambda: _came(page, "away"), 25, "away")
            await page.evaluate("() => window.socket.send('sent while away')")
            await guard.start()

        async def deploy() -> None:
            await guard.ask("POST", "/v1/drain", {"window": "0s"})
            await eventually(lambda: _came(page, "away"), 25, "away")
            await guard.ask("DELETE", "/v1/drain")

        await happens("A session that nobody renews expires, and the user logs in", "open", "away", "log", "open")
        app.respond = logging_in(guard, story)
        await happens("The next one is renewed before it expires", "renewed")
        await happens("The lid is closed and opened: network off, network on", "offline", "online", "open", act=lid)
        await happens("A deploy: the guard drains, refuses for a moment, and is there again", "open", act=deploy)
        await happens("The server is killed, and comes back; a message is sent meanwhile", "open", "message", act=gone)
        if os.environ.get("WSGUARD_PICTURES"):
            PICTURE.parent.mkdir(exist_ok=True)
            await page.screenshot(path=PICTURE, full_page=True)
        await page.context.close()


async def _came(page: Page, kind: str, count: int = 1) -> bool:
    """Whether so many rows of `kind` stand in the last chapter."""
    rows = await page.evaluate("() => [...document.querySelectorAll('tr')].map((row) => row.className.split(' ')[0])")
    chapter = rows[len(rows) - rows[::-1].index("story") :]
    return int(chapter.count(kind)) >= count
