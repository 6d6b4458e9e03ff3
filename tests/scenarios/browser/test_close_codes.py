"""What a script in a real browser learns: with the guard a readable code, without it nothing but 1006."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.scenarios.browser.stage import APP, EVIL, SIBLING, Stage, staged
from tests.support import backend as answers
from tests.support.browser import open_socket, put_cookies, visit
from tests.support.guard import JWT

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEC = f"match: {{hostnames: [{APP}]}}\nsession: {{clockSkew: 0s}}\n{JWT}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged(SPEC, answers.accept(echo=True)) as made:
        yield made


@pytest.mark.parametrize("protocols", [[], ["chat"], ["chat", "bearer.abc"]])
@pytest.mark.parametrize("host", [EVIL, SIBLING])
async def test_a_foreign_page_reads_4403(stage: Stage, host: str, protocols: list[str]) -> None:
    """Also one of the same site, which gets the cookie sent along, and also where it offers subprotocols."""
    before = len(stage.app.upgrades)
    page = await stage.visitor(host)
    closed = await (await open_socket(page, stage.socket, protocols)).closed()
    assert closed == (4403, "origin-denied", True, True)
    assert len(stage.app.upgrades) == before
    await page.context.close()


async def test_the_same_page_gets_in_without_the_guard(stage: Stage) -> None:
    """The hole: the backend sees the visitor's cookie and answers the evil page."""
    token = stage.guard.issuer.token()
    page = await visit(stage.browser, stage.home, {"session": token})
    await page.goto(f"http://{SIBLING}:{stage.elsewhere.port}/")
    socket = await open_socket(page, stage.bare)
    await socket.send_when_open("what is it you know?")
    assert await socket.message() == "what is it you know?"
    assert stage.app.upgrades[-1].get("cookie") == f"session={token}"
    await page.context.close()


@pytest.mark.parametrize(
    ("cookies", "reason"),
    [({}, "credential-missing"), ({"session": "x"}, "credential-invalid"), (None, "credential-expired")],
)
async def test_no_valid_cookie_reads_4401(stage: Stage, cookies: dict[str, str] | None, reason: str) -> None:
    """And the reason says what to do about it."""
    if cookies is None:
        cookies = {"session": stage.guard.issuer.token(lives=-60)}
    page = await visit(stage.browser, stage.home, cookies)
    closed = await (await open_socket(page, stage.socket, ["chat"])).closed()
    assert closed == (4401, reason, True, True)
    await page.context.close()


async def test_a_good_page_talks_with_compression(stage: Stage) -> None:
    """What the browser and the backend agree on passes; the backend here declines compression."""
    page = await stage.visitor()
    socket = await open_socket(page, stage.socket)
    await socket.send_when_open("hello")
    assert await socket.message() == "hello"
    assert "permessage-deflate" in (stage.app.upgrades[-1].get("sec-websocket-extensions") or "")
    await page.context.close()


async def test_expiry_reads_4440(stage: Stage) -> None:
    """In the middle of a conversation."""
    page = await visit(stage.browser, stage.home)
    await put_cookies(page, stage.home, {"session": stage.guard.issuer.token(lives=3)})
    socket = await open_socket(page, stage.socket)
    await socket.send_when_open("hello")
    assert await socket.message() == "hello"
    assert await socket.closed() == (4440, "session-expired", True, True)
    await page.context.close()


async def test_logout_reads_4441_also_at_the_door(stage: Stage) -> None:
    """The socket is cut, and the same cookie does not bring it back."""
    token = stage.guard.issuer.token("lou", sid="s-1")
    page = await visit(stage.browser, stage.home, {"session": token})
    socket = await open_socket(page, stage.socket)
    await socket.opened()
    status, _ = await stage.guard.command("logout", "--sid", "s-1")
    assert status == 0
    assert await socket.closed() == (4441, "logged-out", True, True)
    again = await open_socket(page, stage.socket)
    assert await again.closed() == (4441, "logged-out", True, True)
    await page.context.close()


@pytest.mark.parametrize(
    ("status", "code"), [(401, 4401), (403, 4403), (302, 4401), (404, 4404), (500, 4500), (503, 4503)]
)
async def test_a_backends_refusal_is_readable_only_through_the_guard(stage: Stage, status: int, code: int) -> None:
    """To a script every refused handshake is 1006, unless somebody turns it into a Close."""
    page = await stage.visitor()
    usual, stage.app.answer = stage.app.answer, answers.reply(status, b"no", [("Location", "/login")])
    try:
        assert await (await open_socket(page, stage.bare)).closed() == (1006, "", False, False)
        closed = await (await open_socket(page, stage.socket)).closed()
        assert (closed.code, closed.reason.split()[0]) == (code, "backend-refused")
    finally:
        stage.app.answer = usual
    await page.context.close()


async def test_a_lost_backend_is_readable_only_through_the_guard(stage: Stage) -> None:
    """1006 tells a network failure from nothing; through the guard it has a name."""
    page = await stage.visitor()
    for url, expected in ((stage.bare, (1006, "")), (stage.socket, (1014, "backend-lost"))):
        socket = await open_socket(page, url)
        await socket.send_when_open("hello")
        await socket.message()
        stage.app.conversations[-1].reset()
        closed = await socket.closed()
        assert (closed.code, closed.reason.partition(" ")[0]) == expected
    await page.context.close()
