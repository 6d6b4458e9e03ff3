"""A page renews its sockets with one `fetch`, in a real browser; no other page can."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.scenarios.browser.stage import APP, PAGE, SIBLING
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import chromium, open_socket, put_cookies, visit
from tests.support.guard import JWT, Guard, policy

RENEW = """async (url) => {
  const answer = await fetch(url, { method: "POST", credentials: "include" });
  return [answer.status, await answer.json()];
}"""


@pytest.mark.parametrize("mode", ["Explicit", "Passive"])
async def test_a_socket_lives_on(mode: str) -> None:
    hint = "expiryHint: {message: 'renew!', before: 4s}"
    spec = f"match: {{hostnames: [{APP}]}}\nsession: {{clockSkew: 0s, renewal: {mode}, {hint}}}\n{JWT}"
    async with (
        chromium() as browser,
        RecordingBackend(answers.accept(echo=True), PAGE) as app,
        Guard(app, policy(spec)) as guard,
    ):
        page = await visit(browser, home := f"http://{APP}:{guard.port}/")
        evil = await page.context.new_page()
        await evil.goto(f"http://{SIBLING}:{app.port}/")
        now = int(time.time())
        await put_cookies(page, home, {"session": guard.issuer.token(sid="s-1", iat=now - 60, lives=6)})
        socket = await open_socket(page, f"ws://{APP}:{guard.port}/ws")
        await socket.opened()
        await put_cookies(page, home, {"session": guard.issuer.token(sid="s-1", iat=now, exp=now + 9)})
        with pytest.raises(Exception, match="Failed to fetch"):
            await evil.evaluate(RENEW, f"{home}.wsguard/renew?path=/ws")
        assert not [line for line in guard.logs if line["event"] == "session_renewed"]
        assert await socket.message() == "renew!"
        if mode == "Explicit":
            told: Any = await page.evaluate(RENEW, "/.wsguard/renew?path=/ws")
            assert told[0] == 200
            assert told[1]["connections"] == 1
            assert 0 < told[1]["tokenLifetimeSeconds"] <= 9
        else:
            await page.evaluate("() => fetch('/api/save', { method: 'POST' })")
            await guard.log({"event": "session_renewed", "by": "forwarded", "connections": 1})
        closed = await socket.closed(25.0)
        assert closed == (4440, "session-expired", True, True)
        assert time.time() >= now + 9
