"""Each profile of close codes against its client library: a final refusal ends the retries, a reconnect causes one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.scenarios import servers
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import Program, node
from tests.support.waiting import eventually, stays

LIBRARIES = {
    "graphql-ws": ("graphql-client.mjs", "/graphql"),
    "centrifuge": ("centrifuge-client.mjs", "/connection/websocket"),
    "pusher": ("pusher-client.mjs", ""),
}
NOWHERE = "http://127.0.0.1:9"
PATIENCE = 3.0
"""Seconds in which a library that means to retry has done so: their waits are a second or less."""


@asynccontextmanager
async def server(profile: str) -> AsyncIterator[str]:
    """What the library of `profile` talks to."""
    if profile == "graphql-ws":
        async with servers.npm_server("graphql-server.mjs") as (url, _):
            yield url
    else:
        async with servers.npm_server("dialect-server.mjs", dialect=profile) as (url, _):
            yield url


def client(profile: str, guard: Guard) -> Program:
    """The library itself, with its own retry loop."""
    script, path = LIBRARIES[profile]
    return node(script, url=guard.ws + path, headers={"Origin": guard.url}, attempts=20)


def _attempts(guard: Guard) -> int:
    return sum(line["event"] == "handshake" for line in guard.logs)


FINAL = {
    "credential-missing": JWT,
    "origin-denied": "origin: {allowOrigins: [https://app.example.com], missing: Deny}",
    "not-authorized": "authorization: {rules: [{action: Allow, principal: {clientCIDRs: [10.0.0.0/8]}}]}",
}


@pytest.mark.parametrize("profile", LIBRARIES)
async def test_a_final_refusal_ends_the_retries(profile: str) -> None:
    """One handshake, and the library gives up by itself: for each reason a guard of its own, all at once."""
    async with asyncio.TaskGroup() as group:
        for reason in FINAL:
            group.create_task(_gives_up(profile, reason))


async def _gives_up(profile: str, reason: str) -> None:
    spec = f"rejection: {{profile: {profile}}}\n{FINAL[reason]}"
    async with Guard(NOWHERE, policy(spec)) as guard, client(profile, guard) as library:
        assert (await guard.decided())["reason"] == reason
        await library.event("gave-up")
        await stays(lambda: _attempts(guard) == 1, PATIENCE, "one handshake only")


@pytest.mark.parametrize("profile", LIBRARIES)
async def test_an_absent_backend_is_tried_again(profile: str) -> None:
    """4502, in the profile's words, wants the client back."""
    spec = f"rejection: {{profile: {profile}}}"
    async with Guard(NOWHERE, policy(spec)) as guard, client(profile, guard) as library:
        await guard.decided(reason="backend-unreachable")
        await eventually(lambda: _attempts(guard) >= 3, 15.0, "it comes back")
        assert not library.events("gave-up")


@pytest.mark.parametrize("profile", LIBRARIES)
async def test_a_cut_that_wants_them_back_brings_them_back(profile: str) -> None:
    """A connection that was up is cut with `max-duration`: the library connects anew."""
    spec = f"rejection: {{profile: {profile}}}\nsession: {{maxConnectionDuration: 1s}}"
    async with server(profile) as url, Guard(url, policy(spec)) as guard, client(profile, guard) as library:
        await library.event("connected", count=2)
        assert not library.events("gave-up")
        assert (await guard.ended())["reason"] == "max-duration"


@pytest.mark.parametrize("profile", LIBRARIES)
async def test_a_cut_that_is_final_keeps_them_away(profile: str) -> None:
    """A connection that was up is terminated by an operator: the library gives up."""
    async with (
        server(profile) as url,
        Guard(url, policy(f"rejection: {{profile: {profile}}}")) as guard,
        client(profile, guard) as library,
    ):
        await library.event("connected")
        (listed,) = await guard.connections()
        await guard.ask("DELETE", f"/v1/connections/{listed['id']}")
        await library.event("gave-up")
        await stays(lambda: _attempts(guard) == 1, PATIENCE, "one handshake only")


async def test_graphql_ws_speaks_its_own_default() -> None:
    """What the profiles are for: with the default profile a refused graphql-ws comes back again and again."""
    spec = FINAL["origin-denied"]
    async with Guard(NOWHERE, policy(spec)) as guard, client("graphql-ws", guard) as library:
        await eventually(lambda: _attempts(guard) >= 3, 15.0, "4403 is a reason to retry for graphql-ws")
        assert not library.events("gave-up")
