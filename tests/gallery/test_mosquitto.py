"""MQTT over WebSocket: a real broker, and the client library of browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gallery.gallery import FOREIGN, LOGIN, Place, answer, ending, guarded
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need, node

pytestmark = pytest.mark.asyncio(loop_scope="module")
DASHBOARD = "https://dashboard.example.com"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """mosquitto as the policy assumes it: open to whoever reaches it."""
    port = free_port()
    settings = write_settings(tmp_path_factory.mktemp("mosquitto"), port)
    async with Program(need("mosquitto"), "-c", settings):
        await listening(port)
        async with guarded("mosquitto", f"http://127.0.0.1:{port}") as standing:
            yield standing


def write_settings(folder: Path, port: int) -> Path:
    """With a listener for TCP too: mosquitto 2.0.11 does not start for WebSockets alone."""
    lines = [
        f"listener {free_port()} 127.0.0.1",
        f"listener {port} 127.0.0.1",
        "protocol websockets",
        "allow_anonymous true",
    ]
    path = folder / "mosquitto.conf"
    path.write_text("\n".join(lines))
    return path


async def test_without_the_guard_every_page_switches_the_light(place: Place) -> None:
    url = f"{place.app}/mqtt".replace("http", "ws")
    async with node("mqtt-client.mjs", url=url, headers={"Origin": FOREIGN}) as client:
        assert (await client.event("message"))["message"] == "on"


async def test_the_dashboard_talks_to_the_broker_which_sees_no_token(place: Place) -> None:
    token = LOGIN.token(aud="mqtt")
    place.witness.heads.clear()
    client = node("mqtt-client.mjs", url=f"{place.guard.ws}/mqtt", tokens=[token], headers={"Origin": DASHBOARD})
    async with client:
        assert (await client.event("message"))["message"] == "on"
        (listed,) = await place.guard.connections()
        assert listed["subject"] == "ann"
    (head,) = place.witness.heads
    assert head.all("sec-websocket-protocol") == ["mqtt"]
    assert token.encode() not in head.raw


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    login = f"mqtt, bearer.{LOGIN.token(aud='mqtt')}"
    for origin, offered, expected in (
        (FOREIGN, "mqtt", (4403, "origin-denied")),
        (FOREIGN, login, (4403, "origin-denied")),
        (None, login, (4403, "origin-denied")),
        (DASHBOARD, "mqtt", (4401, "credential-missing")),
        (DASHBOARD, f"mqtt, bearer.{LOGIN.token(aud='shop')}", (4401, "credential-invalid")),
    ):
        assert await answer(place.guard, "/mqtt", origin=origin, subprotocols=offered) == expected
    assert place.witness.heads == []


async def test_the_tokens_end_cuts_and_the_library_comes_back_with_a_new_one(place: Place) -> None:
    tokens = [ending("bob", "mqtt"), LOGIN.token("bob", aud="mqtt")]
    client = node("mqtt-client.mjs", url=f"{place.guard.ws}/mqtt", tokens=tokens, headers={"Origin": DASHBOARD})
    async with client:
        await client.event("connect")
        closed = await client.event("close")
        assert (closed["code"], closed["protocol"]) == (4440, "mqtt")
        await client.event("connect", count=2)
        await client.event("message", count=2)
