"""docs/start.md on this machine: the chat, its guard, a login, a log-out, an evil page, and Socket.IO's own client."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.support.browser import chromium, visit
from tests.support.guard import Guard
from tests.support.ports import free_port
from tests.support.programs import NPM, ROOT, Program, need, node
from wsguard.cli import main

CHAT = ROOT / "examples/chat"
TEXT = (ROOT / "docs/start.md").read_text("utf-8")
(SCRIPT,) = re.findall(r"^```js\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PATH = SCRIPT.partition("ws://localhost:8080")[2].partition('"')[0]
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


class Room(NamedTuple):
    """The chat and the guard before it, by the names that a browser on this machine dials."""

    guard: Guard
    straight: str
    guarded: str


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """As the document starts them, on other ports."""
    need("node")
    shutil.copytree(CHAT, tmp_path / "chat", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "chat/node_modules").symlink_to(NPM / "node_modules")  # what `npm install` brings
    port = free_port()
    policy = (CHAT / "policies/chat.yaml").read_text("utf-8").replace(":3000/", f":{port}/")
    policy = policy.replace(
        "hostnames: [localhost]", "hostnames: [localhost, chat.test]"
    )  # for the browser of the tests
    async with Program(need("node"), tmp_path / "chat/app.mjs", env={"PORT": str(port)}) as app:
        await app.line(f"http://127.0.0.1:{port}")
        async with Guard(f"http://127.0.0.1:{port}", policy) as guard:
            yield Room(guard, f"http://127.0.0.1:{port}", f"http://localhost:{guard.port}")


async def log_in(room: Room) -> str:
    """Through the guard, as the document does; the Cookie field."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{room.guarded}/login?user=alice", allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        return f"sid={SimpleCookie(answer.headers['Set-Cookie'])['sid'].value}"


@asynccontextmanager
async def dialled(url: str, origin: str, cookie: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A page's socket, with the cookie that a browser sends along."""
    headers = {"Origin": origin, **({"Cookie": cookie} if cookie else {})}
    async with aiohttp.ClientSession() as session, session.ws_connect(url + PATH, headers=headers) as socket:
        yield socket


async def greeting(socket: aiohttp.ClientWebSocketResponse) -> str:
    """What the chat says to whoever connects (Engine.IO's open, Socket.IO's connect, then the event)."""
    assert (await socket.receive_str()).startswith("0")
    await socket.send_str("40")
    assert (await socket.receive_str()).startswith("40")
    return await socket.receive_str()


async def test_alice_is_let_in_until_she_logs_out(room: Room) -> None:
    cookie = await log_in(room)
    async with dialled(room.guarded, room.guarded, cookie) as socket:
        assert await greeting(socket) == '42["said","welcome, alice"]'
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{room.guarded}/logout", headers={"Cookie": cookie}, allow_redirects=False) as answer,
        ):
            assert answer.status == 303
        message = await asyncio.wait_for(socket.receive(), 10)
        assert message.type in CLOSED
        assert (message.data, str(message.extra).partition(" ")[0]) == (4441, "logged-out")


async def test_an_evil_page_reads_the_chat_straight_and_nothing_through_the_guard(room: Room) -> None:
    cookie = await log_in(room)
    async with dialled(room.straight, "https://evil.example", cookie) as socket:
        assert await greeting(socket) == '42["said","welcome, alice"]'
    async with dialled(room.guarded, "https://evil.example", cookie) as socket:
        message = await asyncio.wait_for(socket.receive(), 10)
        assert (message.data, message.extra) == (4403, "origin-denied")
    await room.guard.decided(reason="origin-denied")


async def test_a_browser_shows_what_the_document_says(room: Room) -> None:
    port = room.guard.port
    async with chromium() as browser:
        page = await visit(browser, f"http://chat.test:{port}/")
        await page.get_by_text("- refused").first.wait_for()
        await page.goto(f"http://chat.test:{port}/login?user=alice")
        await page.get_by_text("welcome, alice").wait_for()
        await page.get_by_role("button", name="log out").click()
        await page.get_by_text("- gone: logged-out").wait_for()

        await page.goto(f"http://chat.test:{port}/login?user=alice")
        evil = await page.context.new_page()
        await evil.goto(room.straight.replace("127.0.0.1", "evil.test"))
        async with evil.expect_console_message(lambda message: message.text.startswith("4403")) as message:
            await evil.evaluate("() => {" + SCRIPT.replace("localhost:8080", f"chat.test:{port}") + "}")
        assert (await message.value).text == "4403 origin-denied"


async def test_a_client_of_socket_io_hears_at_once_that_nobody_is_logged_in(room: Room) -> None:
    async with node(
        "socketio-client.mjs", url=room.guarded, headers={"Origin": room.guarded}, transports=["websocket"]
    ) as client:
        await client.event("connect_error", 10)


async def test_long_polling_is_no_way_around(room: Room) -> None:
    """The application's own answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(room.guarded + PATH.replace("websocket", "polling")) as answer,
    ):
        assert (answer.status, await answer.json()) == (400, {"code": 0, "message": "Transport unknown"})


async def test_a_name_that_the_policy_does_not_know_gets_421(room: Room) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(room.guarded, headers={"Host": "app.example.com"}) as answer,
    ):
        assert answer.status == 421
        assert "match.hostnames" in await answer.text()


def test_the_policy_does_what_its_tests_say() -> None:
    assert main(["test", str(CHAT / "policies")]) == 0
