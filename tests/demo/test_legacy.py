"""The application has the holes that the story tells of: a story of other holes would prove nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import jwt
import pytest
from yarl import URL

from tests.support import wire
from tests.support.client import connect
from wsguard.demo.browser import Browser
from wsguard.demo.legacy import CLOSED_ROOM, ISSUER, TOKEN_COOKIE, Chat
from wsguard.demo.stage import serve

KEY = secrets.token_bytes(32)
EVIL = URL("http://evil.app.localhost:1")


@pytest.fixture
async def site() -> AsyncIterator[URL]:
    async with serve(Chat(KEY).application(), 0) as port:
        yield URL(f"http://app.localhost:{port}")


@pytest.fixture
async def alice(site: URL) -> AsyncIterator[Browser]:
    async with Browser() as browser:
        await browser.log_in(site, "alice")
        yield browser


async def test_it_greets_by_cookie_and_relays(site: URL, alice: Browser) -> None:
    tab = await alice.open(site, "lobby")
    assert await tab.hear("Welcome") == "Welcome, alice."
    await tab.say("hello")
    assert await tab.hear("hello") == "alice: hello"


async def test_a_foreign_page_gets_in_and_reads_what_was_said(site: URL, alice: Browser) -> None:
    await (await alice.open(site, "lobby")).say("a secret")
    stolen = await alice.open(site, "lobby", page=EVIL)
    assert await stolen.hear("Welcome") == "Welcome, alice."
    assert await stolen.hear("secret") == "alice: a secret"


async def test_nobody_gets_in_as_a_guest(site: URL) -> None:
    async with Browser() as nobody:
        assert await (await nobody.open(site, "lobby")).hear("Welcome") == "Welcome, a guest."


async def test_one_that_leaves_before_it_is_greeted_is_no_error(site: URL, caplog: pytest.LogCaptureFixture) -> None:
    """As at the end of an interrupted story."""
    assert site.port is not None
    async with AsyncExitStack() as clients:
        for _ in range(20):
            client = await clients.enter_async_context(connect(site.port))
            client.writer.write(wire.upgrade("/ws/lobby"))
            client.reset()  # in the same breath: it is gone when the application hears of it
    async with Browser() as nobody:
        assert await (await nobody.open(site, "lobby")).hear("Welcome")
    assert not caplog.records


LOGIN = wire.request(
    "POST",
    "/login",
    [
        ("Host", "app.localhost"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", "100"),
        ("Expect", "100-continue"),
    ],
)


async def test_one_that_leaves_in_the_middle_of_a_login_is_no_error(
    site: URL, caplog: pytest.LogCaptureFixture
) -> None:
    assert site.port is not None
    async with connect(site.port) as client:
        await client.send(LOGIN)
        assert (await client.head()).status == 100
        await client.send(b"name=al")
        client.reset()
    async with Browser() as nobody:
        assert await (await nobody.open(site, "lobby")).hear("Welcome")
    assert not caplog.records


async def test_the_closed_room_answers_with_a_status(site: URL, alice: Browser) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await alice.open(site, CLOSED_ROOM)
    assert refused.value.status == 403


async def test_a_socket_outlives_the_log_out(site: URL) -> None:
    here = site.with_host("127.0.0.1")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await session.post(here / "login", data={"name": "alice"})
        async with session.ws_connect(here / "ws" / "lobby") as socket:
            assert await socket.receive_str() == "Welcome, alice."
            await session.post(here / "logout")
            assert not session.cookie_jar.filter_cookies(here)
            await socket.send_str("still here")
            assert await socket.receive_str() == "alice: still here"


async def test_the_token_cookie_is_a_jwt_that_lives_as_long_as_asked(site: URL) -> None:
    async with aiohttp.ClientSession() as session:
        form = {"name": "carol", "lifetime": "5"}
        answer = await session.post(site.with_host("127.0.0.1") / "login", data=form, allow_redirects=False)
    claims = jwt.decode(answer.cookies[TOKEN_COOKIE].value, KEY, ["HS256"], audience=ISSUER, issuer=ISSUER)
    assert claims["sub"] == "carol"
    assert claims["exp"] - claims["iat"] == 5
    assert abs(claims["iat"] - time.time()) < 5


@pytest.mark.parametrize("form", [{"name": "a b"}, {"name": ""}, {"name": "a", "lifetime": "soon"}, {}])
async def test_a_form_that_makes_no_sense_is_400(site: URL, form: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(site.with_host("127.0.0.1") / "login", data=form, allow_redirects=False)
        assert answer.status == 400


async def test_the_chat_page_asks_for_a_login(site: URL) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(site.with_host("127.0.0.1") / "", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
