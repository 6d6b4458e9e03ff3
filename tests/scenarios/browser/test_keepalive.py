"""A real browser answers the guard's pings; neither its page nor the application learns of them."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.scenarios.browser.stage import PAGE
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import visit
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_chromium_answers(browser: Browser) -> None:
    spec = policy("match: {hostnames: [app.test]}\nkeepAlive: {clientPingInterval: 300ms, timeout: 2s}")
    async with RecordingBackend(answers.accept(), PAGE) as app, Guard(app, spec) as guard:
        opened = await visit(browser, f"http://app.test:{guard.port}/")
        await opened.evaluate(
            """() => new Promise((open) => {
                window.heard = [];
                window.socket = new WebSocket(`ws://${location.host}/ws`);
                socket.onmessage = socket.onclose = (event) => heard.push(event.type);
                socket.onopen = open;
            })"""
        )

        async def enough() -> bool:
            return await guard.metric("wsguard_keepalive_pings_total", side="client") >= 8

        await eventually(enough, what="eight pings, which take more than the timeout")
        assert await opened.evaluate("[socket.readyState, heard]") == [1, []]
        assert (await app.conversation()).tail == b""
        await opened.context.close()
