"""Node-RED as it comes, with a flow that prints, and its editor in Chromium."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.gallery.gallery import FOREIGN, Place, answer, guarded
from tests.support.browser import chromium, visit
from tests.support.ports import free_port
from tests.support.programs import NPM_EXTENDED, Program, installed, need

pytestmark = [pytest.mark.extended, pytest.mark.asyncio(loop_scope="module")]

FLOW = [
    {"id": "flow", "type": "tab"},
    {"id": "tick", "type": "inject", "z": "flow", "repeat": "0.2", "payload": "the door is open", "payloadType": "str",
     "props": [{"p": "payload"}], "wires": [["print"]]},
    {"id": "print", "type": "debug", "z": "flow", "active": True, "tosidebar": True, "complete": "payload"},
]  # fmt: skip
_EDITOR_HEARS = "() => new Promise((resolve) => RED.comms.subscribe('debug', (_, message) => resolve(message.msg)))"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    program = installed(NPM_EXTENDED / "node_modules/node-red/red.js")
    port, home = free_port(), tmp_path_factory.mktemp("node-red")
    settings = write_settings(home, port)
    async with Program(need("node"), program, "--userDir", home, "--settings", settings, cwd=home) as node_red:
        await node_red.line("Started flows", 60)
        async with guarded("node-red", f"http://127.0.0.1:{port}") as standing:
            yield standing


def write_settings(home: Path, port: int) -> Path:
    """Node-RED's defaults, on loopback, and a flow."""
    (home / "flows.json").write_text(json.dumps(FLOW))
    given = {"uiHost": "127.0.0.1", "uiPort": port, "flowFile": "flows.json", "telemetry": {"enabled": False}}
    path = home / "settings.js"
    path.write_text(f"module.exports = {json.dumps(given)};")
    return path


async def test_without_the_guard_every_page_reads_along(place: Place) -> None:
    async with connect(f"{place.app}/comms".replace("http", "ws"), origin=FOREIGN) as socket:  # type: ignore[arg-type]
        await socket.send('{"subscribe": "debug"}')
        while "the door is open" not in await socket.recv():
            pass


async def test_the_editor_works_through_the_guard(place: Place) -> None:
    async with chromium() as browser:
        page = await visit(browser, f"http://node-red.test:{place.guard.port}/")
        await page.wait_for_function("() => window.RED?.comms?.subscribe")
        assert await page.evaluate(_EDITOR_HEARS) == "the door is open"
        (listed,) = await place.guard.connections()
        assert listed["policy"] == "node-red"


async def test_nobody_else_reaches_it(place: Place) -> None:
    place.witness.heads.clear()
    for origin in (FOREIGN, "null", f"{place.guard.url}0", None):
        assert await answer(place.guard, "/comms", origin=origin) == (4403, "origin-denied")
    assert place.witness.heads == []
