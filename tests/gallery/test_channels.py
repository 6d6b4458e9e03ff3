"""Django Channels on daphne, with Django's own sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.gallery.gallery import FOREIGN, Place, answer, guarded
from tests.scenarios.servers import django_login
from tests.scenarios.visitor import Visitor, end

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    async with (
        django_login() as url,
        guarded(
            "channels", url, {"http://127.0.0.1:8000": url, "revalidateEvery: 1m": "revalidateEvery: 1s"}
        ) as standing,
    ):
        yield standing


async def test_without_the_guard_every_page_is_greeted_by_its_visitors_name(place: Place) -> None:
    async with Visitor(place.guard) as visitor:
        await visitor.log_in("ann")
        url = f"{place.app}/ws".replace("http", "ws")
        headers = {"Cookie": visitor.jar}
        async with connect(url, origin=FOREIGN, additional_headers=headers) as socket:  # type: ignore[arg-type]
            assert await socket.recv() == "hello ann"
            await visitor.submit("POST", "/logout")
            await socket.send("still there")
            assert await socket.recv() == "still there"


async def test_a_log_in_opens_the_socket_and_the_logout_button_closes_it(place: Place) -> None:
    async with Visitor(place.guard) as visitor:
        await visitor.log_in("ann")
        async with await visitor.open() as socket:
            assert await socket.recv() == "hello ann"
            assert await visitor.submit("POST", "/logout") == 302
            assert await end(socket) == (4441, "logged-out")


async def test_what_django_forgets_is_found_out(place: Place) -> None:
    """A new password ends the user's other sessions: no answer tells of it, so Django is asked."""
    async with Visitor(place.guard) as here, Visitor(place.guard) as elsewhere:
        await here.log_in("bob")
        await elsewhere.log_in("bob")
        async with await here.open() as socket:
            assert await socket.recv() == "hello bob"
            assert await elsewhere.submit("POST", "/password", password="bob's") == 200
            assert await end(socket) == (4441, "session-invalid")


async def test_nobody_else_reaches_it(place: Place) -> None:
    async with Visitor(place.guard) as visitor:
        before_the_log_in = visitor.jar
        await visitor.log_in("ann")
        place.witness.heads.clear()
        for origin, cookie, expected in (
            (FOREIGN, visitor.jar, (4403, "origin-denied")),
            (None, visitor.jar, (4403, "origin-denied")),
            (place.guard.url, before_the_log_in, (4401, "credential-invalid")),
            (place.guard.url, "", (4401, "credential-missing")),
        ):
            fields = [("Cookie", cookie)] if cookie else []
            assert await answer(place.guard, "/ws", origin=origin, fields=fields) == expected
    assert place.witness.heads == []
