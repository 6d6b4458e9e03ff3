"""A legacy application with an opaque cookie, guarded without a change to it: the application itself is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

import aiohttp
import pytest

from tests.scenarios.apps.cookie_app import CookieApp
from tests.support import wire
from tests.support.client import RawClient, connect
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually, stays

HOME = "http://localhost"

SPEC = """
forwardAuth:
  url: {url}/me
  headersToExtAuth: [cookie]
  headersToBackend: [x-user]
  subjectFrom: {{jsonPath: user.id}}
  cacheDuration: {cache}
session: {{revalidateEvery: {every}, revalidateGrace: {grace}}}
"""


@pytest.fixture
async def app() -> AsyncIterator[CookieApp]:
    async with CookieApp() as running:
        yield running


def guarded(app: CookieApp, cache: str = "5s", every: str = "500ms", grace: str = "60s", more: str = "") -> Guard:
    """A guard that asks `app`."""
    return Guard(app.url, policy(SPEC.format(url=app.url, cache=cache, every=every, grace=grace) + more))


async def log_in(guard: Guard, user: str) -> str:
    """Through the guard, as a browser does; the Cookie field."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"{guard.url}/login", data={"user": user}, allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        jar = SimpleCookie(answer.headers["Set-Cookie"])
        return f"theme=dark; sid={jar['sid'].value}"


async def log_out(guard: Guard, cookie: str) -> None:
    """The application's own button; nothing tells the guard."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"{guard.url}/logout", headers={"Cookie": cookie}, allow_redirects=False) as answer,
    ):
        assert answer.status == 303


def handshake(cookie: str | None, *fields: tuple[str, str], origin: str = HOME, target: str = "/ws") -> bytes:
    given = [*fields] if cookie is None else [("Cookie", cookie), *fields]
    return wire.upgrade(target, origin=origin, fields=given)


@asynccontextmanager
async def admitted(guard: Guard, cookie: str, *fields: tuple[str, str]) -> AsyncIterator[tuple[RawClient, str]]:
    """A client that came in, and what the application greeted it with."""
    async with connect(guard.port) as client:
        await client.open(handshake(cookie, *fields))
        yield client, (await client.frame()).payload.decode()


async def refused(guard: Guard, request: bytes) -> tuple[int, str]:
    """Code and reason, less the time to come back after."""
    async with connect(guard.port) as client:
        await client.open(request)
        code, reason = await client.close_frame()
        return code, reason.partition(" ")[0]


async def test_a_login_of_the_application_opens_the_door_and_its_logout_closes_it(app: CookieApp) -> None:
    async with guarded(app, cache="0s") as guard:
        assert await refused(guard, handshake(None)) == (4401, "credential-missing")
        assert await refused(guard, handshake("sid=guessed")) == (4401, "credential-invalid")
        ann, bob = await log_in(guard, "ann"), await log_in(guard, "bob")
        async with admitted(guard, ann, ("X-User", "root"), ("X_User", "root")) as (mine, greeting):
            assert greeting == "hello ann"
            async with admitted(guard, bob) as (other, _):
                assert {item["subject"] for item in await guard.connections()} == {"ann", "bob"}
                await log_out(guard, ann)
                assert await mine.close_frame() == (4441, "session-invalid")
                assert await refused(guard, handshake(ann)) == (4401, "credential-invalid")
                await other.send(wire.frame(wire.TEXT, b"still here"))
                assert (await other.frame()).payload == b"still here"
        line = await guard.ended(reason="session-invalid")
        assert (line["subject"], line["issuer"], line["source"]) == ("ann", app.url, "forwardAuth")
        cookies = [ann.partition("sid=")[2], bob.partition("sid=")[2]]
        assert not any(cookie in text for cookie in cookies for text in guard.program.lines + guard.program.errors)


async def test_only_what_is_listed_is_sent(app: CookieApp) -> None:
    async with guarded(app) as guard:
        cookie = await log_in(guard, "ann")
        fields = (("Authorization", "Bearer s3cret"), ("X-Other", "1"), ("X-Forwarded-For", "10.9.9.9"))
        async with admitted(guard, cookie, *fields):
            (asked,) = app.asked[:1]
        del asked["host"]
        assert asked == {
            "cookie": cookie, "x-forwarded-method": "GET", "x-forwarded-proto": "http",
            "x-forwarded-host": "localhost", "x-forwarded-uri": "/ws", "x-forwarded-for": "127.0.0.1",
        }  # fmt: skip


async def test_a_foreign_page_is_refused_before_the_application_is_asked(app: CookieApp) -> None:
    async with guarded(app) as guard:
        cookie = await log_in(guard, "ann")
        assert await refused(guard, handshake(cookie, origin="https://evil.example")) == (4403, "origin-denied")
        assert app.asked == []


async def test_a_storm_of_one_user_is_one_question(app: CookieApp) -> None:
    async with guarded(app, every="24h") as guard:
        cookie = await log_in(guard, "ann")
        app.gate.clear()

        async def come_in() -> str:
            async with admitted(guard, cookie) as (_, greeting):
                return greeting

        coming = [asyncio.create_task(come_in()) for _ in range(30)]
        await eventually(lambda: app.asked, what="the question")
        await stays(lambda: len(app.asked) == 1, 0.3)
        app.gate.set()
        assert set(await asyncio.gather(*coming)) == {"hello ann"}
        assert len(app.asked) == 1


async def test_one_question_a_session_is_asked_again(app: CookieApp) -> None:
    async with guarded(app) as guard:
        cookie = await log_in(guard, "ann")
        async with admitted(guard, cookie), admitted(guard, cookie), admitted(guard, cookie):
            app.asked.clear()
            began = time.monotonic()
            await eventually(lambda: len(app.asked) >= 4, what="that it is asked again and again")
            assert time.monotonic() - began > 1.0, "about every half second"


async def test_an_application_that_cannot_tell_keeps_who_is_in_and_admits_nobody(app: CookieApp) -> None:
    async with guarded(app, cache="0s") as guard:
        ann, bob = await log_in(guard, "ann"), await log_in(guard, "bob")
        async with admitted(guard, ann) as (mine, _):
            app.broken = True
            assert await refused(guard, handshake(bob)) == (1011, "identity-unavailable")
            before = len(app.asked)
            await eventually(lambda: len(app.asked) > before + 2, what="that it is asked again")
            app.broken = False
            await mine.send(wire.frame(wire.TEXT, b"still here"))
            assert (await mine.frame()).payload == b"still here"
            async with admitted(guard, bob):
                pass
        assert await guard.metric("wsguard_identity_requests_total", provider="forwardAuth", result="unavailable") >= 3
        assert await guard.metric("wsguard_identity_request_duration_seconds_count") == len(app.asked)


async def test_after_the_grace_who_is_in_is_cut(app: CookieApp) -> None:
    async with guarded(app, cache="0s", grace="1s") as guard:
        cookie = await log_in(guard, "ann")
        async with admitted(guard, cookie) as (client, _):
            app.broken = True
            code, reason = await client.close_frame(20)
            assert (code, reason.partition(" ")[0]) == (1011, "identity-unavailable")
        await guard.ended(reason="identity-unavailable")


async def test_one_that_hangs_refuses_within_the_handshakes_time(app: CookieApp) -> None:
    guard = guarded(app)
    guard.write(
        "guard.yaml",
        "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {listener: {handshakeTimeout: 1s}}\n",
    )
    async with guard:
        cookie = await log_in(guard, "ann")
        app.gate.clear()
        assert await refused(guard, handshake(cookie)) == (1011, "identity-unavailable")


async def test_a_log_out_told_to_the_guard_purges_and_asks_anew(app: CookieApp) -> None:
    async with guarded(app, cache="1h", every="24h") as guard:
        cookie = await log_in(guard, "ann")
        async with admitted(guard, cookie) as (client, _):
            app.sessions.clear()  # the application has ended the session, and a script tells the guard
            status, answer = await guard.ask("POST", "/v1/logout", {"subject": "ann"})
            assert (status, answer) == (200, {"closed": 1})
            assert await client.close_frame() == (4441, "logged-out")
        assert await refused(guard, handshake(cookie)) == (4401, "credential-invalid")
        again = await log_in(guard, "ann")

        async def is_in() -> bool:
            async with connect(guard.port) as client:
                await client.open(handshake(again))
                return (await client.frame()).opcode == wire.TEXT

        await eventually(is_in, 5, "that a new login opens the door, a second after the log-out at the latest")


async def test_the_application_must_approve_as_well_as_a_token(app: CookieApp) -> None:
    more = JWT.replace("cookies: [session]", "cookies: [token]")
    async with guarded(app, more=more) as guard:
        sid = await log_in(guard, "ann")
        mine, other = (f"token={guard.issuer.token(subject)}" for subject in ("ann", "bob"))
        assert await refused(guard, handshake(sid)) == (4401, "credential-missing")
        assert await refused(guard, handshake(mine)) == (4401, "credential-invalid")
        assert await refused(guard, handshake(f"{sid}; token=x.y.z")) == (4401, "credential-invalid")
        before = len(app.asked)
        assert await refused(guard, handshake(f"{sid}; token=x.y.z")) == (4401, "credential-invalid")
        assert len(app.asked) == before  # a bad token costs the application nothing
        assert await refused(guard, handshake(f"{sid}; {other}")) == (4401, "credential-invalid")
        async with admitted(guard, f"{sid}; {mine}") as (_, greeting):
            assert greeting == "hello ann"
            (listed,) = await guard.connections()
            assert listed["subject"] == "ann"


async def test_a_reload_changes_who_is_asked_and_keeps_who_is_in(app: CookieApp) -> None:
    async with CookieApp() as other, guarded(app, cache="1h") as guard:
        cookie = await log_in(guard, "ann")
        async with admitted(guard, cookie) as (client, _):
            other.sessions.update(app.sessions)
            guard.write("policy.yaml", policy(SPEC.format(url=other.url, cache="1h", every="500ms", grace="60s")))
            await eventually(lambda: other.asked, what="that the new service is asked about who is in")
            other.sessions.clear()
            assert await client.close_frame() == (4441, "session-invalid")
        assert await refused(guard, handshake(cookie)) == (4401, "credential-invalid")
