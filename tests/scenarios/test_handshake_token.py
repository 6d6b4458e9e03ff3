"""Handshake tokens on guards as they run: keys that rotate, replicas that share them, an application's own cookie."""

from __future__ import annotations

import base64
import json
import os
from contextlib import AsyncExitStack

from tests.scenarios.apps.cookie_app import CookieApp
from tests.support import wire
from tests.support.backend import RecordingBackend, accept
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy

HOME = "http://localhost"
TOKENS = "origin: {handshakeToken: {required: true, secretFile: '{folder}/tokens.key', maxAge: 60s}}\n"
INVALID = (4403, "handshake-token-invalid")


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


async def fetch(guard: Guard, cookie: str, origin: str = HOME) -> tuple[int, str]:
    """Status, and the token or why there is none."""
    async with connect(guard.port) as client:
        fields = [("Host", "localhost"), ("Origin", origin), ("Cookie", cookie)]
        await client.send(wire.request("POST", "/.wsguard/handshake-token?path=/ws", fields))
        head = await client.head()
        told = json.loads(await client.body(head))
        return head.status, told.get("token") or told["reason"]


async def shown(guard: Guard, cookie: str, token: str, origin: str = HOME) -> tuple[int, str] | None:
    """None where it was let in."""
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(f"/ws?wsguard_token={token}", origin=origin, fields=[("Cookie", cookie)]))
        await client.send(wire.close_frame(1000))
        closed = await client.close_frame()
        return None if closed[0] == 1000 else closed


async def test_keys_rotate_without_a_restart(backend: RecordingBackend) -> None:
    """The new one goes first and seals; the old one opens what is still under way, until it is taken out."""
    backend.answer = accept(echo=True)
    old, new = key(), key()
    guard = Guard(backend, policy(TOKENS + JWT))
    guard.write("tokens.key", f"{old}\n")
    async with guard:
        cookie = f"session={guard.issuer.token()}"
        _, first = await fetch(guard, cookie)
        assert await shown(guard, cookie, first) is None
        guard.write("tokens.key", f"{new}\n{old}\n")
        await guard.log({"event": "policies_loaded"}, count=2)
        _, second = await fetch(guard, cookie)
        assert [await shown(guard, cookie, token) for token in (first, second)] == [None, None]
        guard.write("tokens.key", f"{new}\n")
        await guard.log({"event": "policies_loaded"}, count=3)
        assert [await shown(guard, cookie, token) for token in (first, second)] == [INVALID, None]
        guard.write("tokens.key", "gone wrong\n")
        line = await guard.log({"event": "reload_refused"})
        assert "line 1 is not base64" in str(line)
        assert await shown(guard, cookie, second) is None
        assert {head.target for head in backend.upgrades} == {"/ws"}
        secrets = (first, second, old, new)
        assert not any(each in text for each in secrets for text in guard.program.lines + guard.program.errors)


async def test_an_application_with_its_own_cookie_and_two_replicas() -> None:
    """It knows nothing of tokens: whom it names is whom they are for, also when its cookie jar has changed."""
    shared = key()
    async with CookieApp() as app, AsyncExitStack() as stack:
        asked = f"forwardAuth: {{url: {app.url}/me, headersToExtAuth: [cookie], subjectFrom: {{jsonPath: user.id}}}}\n"
        guards = [Guard(app.url, policy(TOKENS + asked)) for _ in range(2)]
        for guard in guards:
            guard.write("tokens.key", shared)
            await stack.enter_async_context(guard)
        app.sessions |= {"a": "ann", "a2": "ann", "b": "bob"}
        assert await fetch(guards[0], "theme=dark") == (401, "credential-invalid")
        assert await fetch(guards[0], "sid=a", "https://evil.test") == (403, "origin-denied")
        status, token = await fetch(guards[0], "sid=a; theme=dark")
        assert status == 200
        for guard in guards:
            assert await shown(guard, "sid=a; theme=light", token) is None
            assert await shown(guard, "sid=a2", token) is None
            assert await shown(guard, "sid=b", token) == INVALID
            assert await shown(guard, "sid=none", token) == INVALID
