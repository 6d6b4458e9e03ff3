"""Debian's websockify before the smallest of VNC servers, and the real noVNC in Chromium."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, guarded
from tests.support.browser import chromium, visit
from tests.support.ports import free_port, listening
from tests.support.programs import NPM, Program, need

pytestmark = pytest.mark.asyncio(loop_scope="module")
TARGET = "/websockify"
GREETING = b"RFB 003.008\n"

_SEES_A_DESKTOP = """() => new Promise(async (resolve) => {
  const { default: RFB } = await import("/core/rfb.js");
  const screen = document.body.appendChild(document.createElement("div"));
  const rfb = new RFB(screen, `ws://${location.host}/websockify`);
  rfb.addEventListener("desktopname", ({ detail }) => resolve(detail.name));
  rfb.addEventListener("disconnect", ({ detail }) => resolve(`disconnected, clean: ${detail.clean}`));
})"""


async def desktop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 6143 up to ServerInit (§7.3.2): a black screen of 8 by 8, for everyone who comes."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(GREETING)
        await reader.readexactly(len(GREETING))
        writer.write(b"\x01\x01")  # one kind of security: none
        await reader.readexactly(1)
        writer.write(bytes(4))
        await reader.readexactly(1)
        pixels = struct.pack("!4B3H3B3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        writer.write(struct.pack("!2H", 8, 8) + pixels + struct.pack("!I", 9) + b"a desktop")
        await reader.read()
    writer.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    vnc = await asyncio.start_server(desktop, "127.0.0.1", 0)
    there, port = vnc.sockets[0].getsockname()[1], free_port()
    need("node")  # and with it the packages
    pages = NPM / "node_modules/@novnc/novnc"
    async with vnc, Program(need("websockify"), "--web", pages, f"127.0.0.1:{port}", f"127.0.0.1:{there}"):
        await listening(port)
        async with guarded("novnc", f"http://127.0.0.1:{port}") as standing:
            yield standing


def login(subject: str, scope: str = "desktop") -> str:
    return LOGIN.token(subject, aud="desktops", scope=scope)


async def test_without_the_guard_every_page_sees_the_desktop(place: Place) -> None:
    url = f"{place.app}{TARGET}".replace("http", "ws")
    async with connect(url, origin=FOREIGN, subprotocols=["binary"]) as socket:  # type: ignore[arg-type, list-item]
        assert await socket.recv() == GREETING


async def test_novnc_shows_it_to_those_who_may_see_it(place: Place) -> None:
    home = f"http://novnc.test:{place.guard.port}/package.json"
    async with chromium() as browser:
        page = await visit(browser, home, {"session": login("ann")})
        place.witness.heads.clear()
        assert await page.evaluate(_SEES_A_DESKTOP) == "a desktop"
        (head,) = place.witness.heads
        assert head.all("cookie") == []
        await place.guard.ask("POST", "/v1/logout", {"subject": "ann"})
        await place.guard.ended(reason="logged-out")
        assert await page.evaluate(_SEES_A_DESKTOP) == "disconnected, clean: false"


async def test_the_subprotocol_of_older_versions_is_kept(place: Place) -> None:
    async with connect(
        f"{place.guard.ws}{TARGET}",
        origin=place.guard.url,  # type: ignore[arg-type]
        subprotocols=["binary"],  # type: ignore[list-item]
        additional_headers={"Cookie": f"session={login('bob')}"},
    ) as socket:
        assert socket.subprotocol == "binary"
        assert await socket.recv() == GREETING


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    for origin, cookie, expected in (
        (FOREIGN, login("eve"), (4403, "origin-denied")),
        (None, login("eve"), (4403, "origin-denied")),
        (place.guard.url, login("eve", "mail"), (4403, "not-authorized")),
        (place.guard.url, "", (4401, "credential-missing")),
    ):
        fields = [("Cookie", f"session={cookie}")] if cookie else []
        assert await answer(place.guard, TARGET, origin=origin, subprotocols="binary", fields=fields) == expected
    assert place.witness.heads == []
