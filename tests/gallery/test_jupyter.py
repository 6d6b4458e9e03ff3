"""Jupyter Server with a terminal: no page of it opens one, so that the client is this test."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from tests.gallery.gallery import FOREIGN, Place, answer, guarded
from tests.scenarios.visitor import end
from tests.support.ports import free_port, listening
from tests.support.programs import Program, installed
from tests.support.provision import JUPYTER_FOLDER

pytestmark = [pytest.mark.extended, pytest.mark.asyncio(loop_scope="module")]
TOKEN = "the password of the tests"
TERMINAL = "/terminals/websocket/1"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    program = installed(JUPYTER_FOLDER / "bin/jupyter-server")
    port, home = free_port(), tmp_path_factory.mktemp("jupyter")
    settings = write_settings(home, port)
    env = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    async with Program(program, f"--config={settings}", env=env, cwd=home):
        await listening(port)
        url = f"http://127.0.0.1:{port}"
        async with guarded("jupyter", url, {"http://127.0.0.1:8888": url}) as standing:
            yield standing


def write_settings(home: Path, port: int) -> Path:
    """What the policy asks for, and what a test needs."""
    settings = {
        "IdentityProvider.cookie_name": "jupyter",
        "IdentityProvider.token": TOKEN,
        "ServerApp.allow_root": True,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.open_browser": False,
        "ServerApp.port": port,
        "ServerApp.root_dir": str(home),
    }
    path = home / "settings.py"
    path.write_text("\n".join(f"c.{name} = {value!r}" for name, value in settings.items()))
    return path


class Browser:
    """As far as forms and cookies go; `url` is Jupyter's, guarded or not."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}

    @property
    def jar(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def submit(self, method: str, path: str, **form: str) -> int:
        headers = {"Cookie": self.jar, "Origin": self.url, "X-XSRFToken": self.cookies.get("_xsrf", "")}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, self.url + path, data=form, headers=headers, allow_redirects=False) as response,
        ):
            for field in response.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(field).items():
                    self.cookies[name] = morsel.coded_value
            return response.status

    async def log_in(self) -> None:
        await self.submit("GET", "/login")
        assert await self.submit("POST", "/login", password=TOKEN) == 302
        assert await self.submit("POST", "/api/terminals") == 200

    async def open(self, jar: str) -> ClientConnection:
        url = self.url.replace("http", "ws") + TERMINAL
        return await connect(url, origin=self.url, additional_headers={"Cookie": jar})  # type: ignore[arg-type]


async def shell(socket: ClientConnection) -> None:
    """Have the shell say something that it was not told in so many letters."""
    await socket.send(json.dumps(["stdin", "echo $((6*7))-is-said\r"]))
    said = ""
    while not re.search("42-is-said", said):
        kind, *rest = json.loads(await socket.recv())
        said += rest[0] if kind == "stdout" else ""


async def test_without_the_guard_a_log_out_ends_nothing(place: Place) -> None:
    browser = Browser(place.app)
    await browser.log_in()
    jar = browser.jar
    async with await browser.open(jar) as socket:
        await shell(socket)
        assert await browser.submit("GET", "/logout") == 200
        await shell(socket)
    async with await browser.open(jar) as again:
        await shell(again)


async def test_a_log_out_closes_the_shell_and_keeps_the_cookie_out(place: Place) -> None:
    browser = Browser(place.guard.url)
    await browser.log_in()
    jar = browser.jar
    async with await browser.open(jar) as socket:
        await shell(socket)
        assert await browser.submit("GET", "/logout") == 200
        assert await end(socket) == (4441, "logged-out")
    async with await browser.open(jar) as again:
        assert await end(again) == (4441, "logged-out")


async def test_nobody_else_reaches_it(place: Place) -> None:
    browser = Browser(place.guard.url)
    await browser.log_in()
    place.witness.heads.clear()
    cookie = [("Cookie", browser.jar)]
    with_token = f"{TERMINAL}?token={TOKEN.replace(' ', '%20')}"
    for target, origin, fields, expected in (
        (TERMINAL, FOREIGN, cookie, (4403, "origin-denied")),
        (with_token, FOREIGN, [], (4403, "origin-denied")),
        (TERMINAL, None, cookie, (4403, "origin-denied")),
        (TERMINAL, place.guard.url, [("Cookie", "jupyter=guessed")], (4401, "not-authorized")),
    ):
        assert await answer(place.guard, target, origin=origin, fields=fields) == expected
    assert place.witness.heads == []


async def test_without_the_guard_a_page_that_knows_the_token_may_be_anyones(place: Place) -> None:
    browser = Browser(place.app)
    await browser.log_in()
    url = f"{place.app}{TERMINAL}?token={TOKEN}".replace("http", "ws").replace(" ", "%20")
    async with connect(url, origin=FOREIGN) as socket:  # type: ignore[arg-type]
        await shell(socket)
