"""The application's own logout button ends its sockets, without a line of code in it: a real Django, and replicas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.scenarios.replicas import Socket, events, token_of, verdict
from tests.scenarios.servers import django_login
from tests.scenarios.visitor import Visitor, end
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.client import fetch
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

LOGGED_OUT = (4441, "logged-out")
DJANGO = """
forwardAuth:
  url: {url}/me
  headersToExtAuth: [cookie]
  cacheDuration: 1h
  {subject}
session: {{revalidateEvery: 24h, logoutDetection: {{cookies: [sessionid]}}}}
"""
NAMED = "subjectFrom: {jsonPath: user}"


@pytest.mark.parametrize("subject", [NAMED, ""], ids=["named", "nobody is named"])
async def test_djangos_logout_ends_its_sockets_and_a_new_session_key_does_not(subject: str) -> None:
    async with (
        django_login() as url,
        Guard(url, policy(DJANGO.format(url=url, subject=subject))) as guard,
        Visitor(guard) as ann,
        Visitor(guard) as bob,
    ):
        await ann.log_in("ann")
        await bob.log_in("bob")
        first, other = await ann.open(), await bob.open()
        assert await first.recv() == "hello ann"
        assert await other.recv() == "hello bob"
        old = ann.jar
        assert await ann.submit("POST", "/password", password="another") == 200
        assert ann.jar != old
        second = await ann.open()
        assert await second.recv() == "hello ann"
        await first.send("still here")
        assert await first.recv() == "still here"
        jar = ann.jar
        assert await ann.submit("POST", "/logout") == 302
        assert "sessionid" not in ann.cookies
        assert [await end(first), await end(second)] == [LOGGED_OUT, LOGGED_OUT]
        for kept in (jar, old):  # what a thief may have kept
            assert (await end(await ann.open(kept)))[0] in (4401, 4441)
        await other.send("still here")
        assert await other.recv() == "still here"
        seen = await guard.log({"event": "logout_detected"})
        assert (seen["policy"], seen["why"]) == ("chat", "the answer clears the cookie sessionid")
        assert await guard.metric("wsguard_session_events_total", source="LogoutDetection", result="applied") == 1
        secrets = [ann.cookies.get("sessionid", jar.partition("sessionid=")[2]), old.partition("sessionid=")[2]]
        assert not any(secret in line for secret in secrets for line in guard.program.lines + guard.program.errors)
        await other.close()


async def test_a_logout_told_by_an_operator_finds_a_cookie_that_only_forward_auth_vouched_for() -> None:
    async with (
        django_login() as url,
        Guard(url, policy(DJANGO.format(url=url, subject=""))) as guard,
        Visitor(guard) as ann,
    ):
        await ann.log_in("ann")
        socket = await ann.open()
        assert await socket.recv() == "hello ann"
        assert await guard.ask("POST", "/v1/logout", {"cookie": ann.cookies["sessionid"]}) == (200, {"closed": 1})
        assert await end(socket) == LOGGED_OUT
        assert await end(await ann.open()) == LOGGED_OUT


@pytest.fixture(params=[Redis, Nats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as running:
        yield running


WATCHED = JWT + "session: {logoutDetection: {cookies: [session], requests: [{method: POST, path: /logout}]}}\n"


def replica(backend: RecordingBackend, engine: Engine, spec: str) -> Guard:
    return Guard(backend, {"policy.yaml": policy(spec), "guard.yaml": events(engine.spec())})


@pytest.mark.parametrize("spec", [WATCHED, WATCHED.removeprefix(JWT)], ids=["signed", "opaque"])
async def test_a_logout_seen_by_one_replica_closes_on_the_other(
    engine: Engine, backend: RecordingBackend, spec: str
) -> None:
    """Also where the one that sees it has never seen the cookie: a balancer sends the button's request anywhere."""
    backend.respond = answers.reply(303, b"", [("Set-Cookie", "session=; Max-Age=0; Path=/")])
    async with replica(backend, engine, spec) as first, replica(backend, engine, spec) as second:
        alice, bob, carol = (token_of(name) for name in ("alice", "bob", "carol"))
        here, there = await Socket(first, alice).open(), await Socket(second, alice).open()
        other, unseen = await Socket(first, bob).open(), await Socket(second, carol).open()
        await fetch(first.port, "/bye", ("Cookie", f"session={alice}"))
        assert [await here.end(), await there.end()] == [LOGGED_OUT, LOGGED_OUT]
        assert await verdict(second, alice) == "logged-out"
        await fetch(first.port, "/bye", ("Cookie", f"session={carol}"))
        assert await unseen.end() == LOGGED_OUT
        await eventually(lambda: verdict_is(first, carol, "logged-out"), what="that the one that asked keeps it out")
        assert await second.metric("wsguard_deny_list_entries") == 2
        assert other.is_open
        await other.close()


async def verdict_is(guard: Guard, token: str, expected: str) -> bool:
    return await verdict(guard, token) == expected


async def test_invented_cookies_leave_no_trace(backend: RecordingBackend) -> None:
    backend.respond = answers.reply(200, b"", [("Set-Cookie", "session=; Max-Age=0; Path=/")])
    async with Guard(backend, policy(WATCHED)) as guard:
        socket = await Socket(guard, token_of("alice")).open()
        for cookie in (f"session={token_of('alice')}x", "session=invented", "session="):
            await fetch(guard.port, "/logout", ("Cookie", cookie), method="POST")
        assert socket.is_open
        assert await guard.metric("wsguard_deny_list_entries") == 0
        assert await guard.metric("wsguard_session_events_total", source="LogoutDetection", result="ignored") == 2
        assert json.dumps(guard.logs).count("logout_detected") == 0
        await socket.close()
