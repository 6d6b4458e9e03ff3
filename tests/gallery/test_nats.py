"""nats-server's WebSocket listener, and NATS' own client for asyncio, with the header fields of a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client

from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, guarded
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning"),  # nats-py's own
]
APP = "https://app.example.com"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    port = free_port()
    settings = write_settings(tmp_path_factory.mktemp("nats"), port)
    async with Program(need("nats-server"), "-c", settings):
        await listening(port)
        async with guarded("nats", f"http://127.0.0.1:{port}") as standing:
            yield standing


def write_settings(folder: Path, port: int) -> Path:
    """The least that makes nats-server speak WebSocket."""
    path = folder / "nats.conf"
    websocket = f'websocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}'
    path.write_text(f'host: "127.0.0.1"\nport: {free_port()}\n{websocket}\n')
    return path


async def client(url: str, origin: str, cookie: str = "") -> Client:
    headers = {"Origin": [origin], **({"Cookie": [cookie]} if cookie else {})}
    return await nats.connect(
        url.replace("http", "ws"), ws_connection_headers=headers, reconnect_time_wait=0.1, max_reconnect_attempts=20
    )


async def talk(connection: Client) -> None:
    """Publish, and hear it."""
    subscription = await connection.subscribe("news")
    await connection.publish("news", b"good")
    assert (await subscription.next_msg(5)).data == b"good"


async def test_without_the_guard_every_page_subscribes(place: Place) -> None:
    connection = await client(place.app, FOREIGN)
    await talk(connection)
    await connection.close()


async def test_the_application_subscribes_until_it_logs_out(place: Place) -> None:
    token = LOGIN.token(aud="live")
    place.witness.heads.clear()
    connection = await client(place.guard.url, APP, f"theme=dark; session={token}")
    await talk(connection)
    (head,) = place.witness.heads
    assert head.all("cookie") == ["theme=dark"]
    await place.guard.ask("POST", "/v1/logout", {"subject": "ann"})
    await place.guard.decided(reason="logged-out")  # the library came back by itself
    assert not connection.is_connected
    await connection.close()


async def test_a_connection_that_was_ended_comes_back_by_itself(place: Place) -> None:
    connection = await client(place.guard.url, APP, f"session={LOGIN.token('bob', aud='live')}")
    await talk(connection)
    (listed,) = await place.guard.connections()
    await place.guard.ask("DELETE", f"/v1/connections/{listed['id']}")

    async def is_back() -> bool:
        return [item["id"] for item in await place.guard.connections()] not in ([], [listed["id"]])

    await eventually(is_back, what="another connection")
    await talk(connection)
    await connection.close()


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    login = [("Cookie", f"session={LOGIN.token('eve', aud='live')}")]
    assert await answer(place.guard, "/", origin=FOREIGN, fields=login) == (4403, "origin-denied")
    assert await answer(place.guard, "/", origin="https://blog.example.com", fields=login) == (4403, "origin-denied")
    assert await answer(place.guard, "/", fields=login) == (4403, "origin-denied")
    assert await answer(place.guard, "/", origin=APP) == (4401, "credential-missing")
    assert place.witness.heads == []
