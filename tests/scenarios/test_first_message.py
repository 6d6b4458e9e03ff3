"""A token in the first message, from clients that do so by themselves, through a guard that runs."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from tests.scenarios import servers
from tests.scenarios.provider import SECRET, running
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import node
from tests.support.waiting import eventually

FIRST = "{firstMessage: {jsonPath: payload.token, timeout: 20s}}"
SPEC = JWT.replace("{cookies: [session]}", FIRST)
GRAPHQL = SPEC.replace("20s}", "20s, forward: true}") + "limits: {subprotocols: [graphql-transport-ws]}\n"
OPAQUE = f"""
introspection:
  providers:
  - name: op
    endpoint: OP/token/introspection
    clientID: guard
    clientSecretFile: {{folder}}/client.secret
    issuer: OP
    extractFrom: {FIRST}
session: {{revalidateEvery: 500ms, clockSkew: 0s}}
"""
HELLO = wire.upgrade(origin="http://localhost")


def says(token: str) -> bytes:
    """The first message of an application of our own."""
    return wire.frame(wire.TEXT, json.dumps({"type": "hello", "payload": {"token": token}}).encode())


async def test_graphql_ws_says_it_in_its_connection_init() -> None:
    """The very message goes on to a server that waits for it, and a log-out ends what it has opened."""
    async with servers.npm_server("graphql-server.mjs") as (url, server), Guard(url, policy(GRAPHQL)) as guard:
        params = {"token": guard.issuer.token()}
        options = {"url": f"{guard.ws}/graphql", "headers": {"Origin": guard.url}, "params": params, "attempts": 0}
        async with node("graphql-client.mjs", **options, query="subscription { count(to: 3) }") as client:
            await client.event("complete")
            assert [event["data"]["count"] for event in client.events("next")] == [1, 2, 3]
        assert (await server.event("init"))["params"] == params
        (connection,) = server.events("connection")
        assert (connection["protocol"], connection["extensions"]) == ("graphql-transport-ws", "")
        async with node("graphql-client.mjs", **options) as client:
            await client.event("connected")
            line = await guard.decided(result="admitted")
            assert (line["subject"], line["source"]) == ("ann", "first-message:payload.token")
            await guard.ask("POST", "/v1/logout", {"subject": "ann"})
            assert (await client.event("closed"))["code"] == 4441
    assert params["token"] not in "\n".join(guard.program.lines)


@pytest.mark.parametrize("params", [None, {}, {"token": "made up"}])
async def test_graphql_ws_reads_why_it_may_not(params: dict[str, str] | None) -> None:
    """It gives up, and its server was never asked."""
    async with servers.npm_server("graphql-server.mjs") as (url, server), Guard(url, policy(GRAPHQL)) as guard:
        options = {"url": f"{guard.ws}/graphql", "headers": {"Origin": guard.url}, "params": params}
        async with node("graphql-client.mjs", **options) as client:
            assert (await client.event("gave-up"))["code"] == 4401
            assert not client.events("retrying")
        assert not server.events("connection")


async def test_an_opaque_token_is_asked_about_again(backend: RecordingBackend) -> None:
    """What was said first is kept as long as it is asked about."""
    async with running() as provider:
        guard = Guard(backend, policy(OPAQUE.replace("OP", provider.url)))
        (guard.folder / "client.secret").write_text(SECRET)
        async with guard, connect(guard.port) as client:
            ann = await provider.mint("ann")
            await client.open(HELLO)
            await client.send(says(ann))
            await backend.conversation()
            await provider.revoke(ann)
            assert await client.close_frame() == (4441, "session-invalid")
        assert ann not in "\n".join(guard.program.lines)


async def test_forward_auth_is_asked_once_the_message_is_good(backend: RecordingBackend) -> None:
    """With the handshake's own fields."""
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Cookie"))
        return web.json_response({"user": "ann"}, headers={"X-Room": "blue"})

    async with servers.serve_aiohttp(web.get("/me", answer)) as url:
        more = f"forwardAuth: {{url: '{url}/me', headersToExtAuth: [cookie], headersToBackend: [x-room]}}\n"
        async with Guard(backend, policy(SPEC + more)) as guard:
            handshake = wire.upgrade(origin="http://localhost", fields=[("Cookie", "a=1")])
            async with connect(guard.port) as client:
                await client.open(handshake)
                await client.send(says("made up"))
                assert await client.close_frame() == (4401, "credential-invalid")
            assert not asked
            async with connect(guard.port) as client:
                await client.open(handshake)
                await client.send(says(guard.issuer.token()))
                assert (await backend.conversation()).requests[0].get("x-room") == "blue"
            assert asked == ["a=1"]


async def test_who_is_awaited_is_counted_and_sent_away_by_a_drain(backend: RecordingBackend) -> None:
    """Also by the end of the process, which waits for none of them."""
    async with Guard(backend, policy(SPEC)) as guard, connect(guard.port) as silent, connect(guard.port) as gone:
        for client in (silent, gone):
            await client.open(HELLO)
        assert await guard.metric("wsguard_first_messages_awaited") == 2
        assert await guard.metric("wsguard_connections") == 0
        gone.reset()

        async def one_is_left() -> bool:
            return await guard.metric("wsguard_first_messages_awaited") == 1

        await eventually(one_is_left)
        assert await guard.metric("wsguard_handshakes_total", result="refused", reason="client-lost") == 1
        assert await guard.terminate() == 0
        code, reason = await silent.close_frame()
        assert (code, reason.split()[0]) == (1012, "draining")


async def test_an_origin_that_is_removed_loses_such_sockets(backend: RecordingBackend) -> None:
    """`onReload: Rejudge` has the claims, not the message."""
    spec = SPEC + "session: {onReload: Rejudge}\norigin: {allowOrigins: [%s]}\n"
    async with Guard(backend, policy(spec % "'http://a.test'")) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade(origin="http://a.test"))
        await client.send(says(guard.issuer.token()))
        await backend.conversation()
        await guard.decided(result="admitted")
        guard.write("policy.yaml", policy(spec % "'http://a.test', 'http://b.test'"))
        await guard.log({"event": "connections_rejudged", "cut": 0})
        guard.write("policy.yaml", policy(spec % "'http://b.test'"))
        assert await client.close_frame() == (4403, "origin-denied")
