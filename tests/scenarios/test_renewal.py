"""A connection that goes on by a newer credential of its session, through a guard as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Origin, Subprotocol

from tests.identity.asked import Asked, AskedService
from tests.identity.asked import reply as says
from tests.scenarios.servers import npm_echo
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

ORIGIN = "http://localhost"
SUBPROTOCOLS = [Subprotocol("chat")]


def spec(session: str = "") -> str:
    """Cookies of an issuer without skew, so that a second of a token is a second."""
    return policy(JWT + f"session: {{clockSkew: 0s{session}}}\n")


@asynccontextmanager
async def admitted(guard: Guard, token: str, origin: str = ORIGIN) -> AsyncIterator[RawClient]:
    """A client that came in with `token`."""
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(origin=origin, fields=[("Cookie", f"session={token}")]))
        yield client


async def post(guard: Guard, token: str, origin: str = ORIGIN) -> tuple[int, Any]:
    """Show `token` to the guard."""
    fields = [("Host", "localhost"), ("Origin", origin), ("Cookie", f"session={token}")]
    async with connect(guard.port) as client:
        await client.send(wire.request("POST", "/.wsguard/renew?path=/ws", fields))
        head = await client.head()
        return head.status, json.loads(await client.body(head))


async def echoes(client: RawClient, backend: RecordingBackend) -> None:
    """The connection passes messages."""
    await client.send(wire.frame(wire.TEXT, b"still here"))
    assert (await (await backend.conversation()).frame()).payload == b"still here"


def old(guard: Guard, lives: float = 3600.0, **claims: Any) -> str:
    """A token that was issued a while ago: `iat` has whole seconds."""
    return guard.issuer.token(**{"sid": "s-1", "iat": int(time.time()) - 60, "lives": lives, **claims})


async def test_it_lives_past_the_first_exp_and_dies_at_the_second(backend: RecordingBackend) -> None:
    async with Guard(backend, spec()) as guard:
        first, second = math.ceil(time.time()) + 3, math.ceil(time.time()) + 6
        async with admitted(guard, old(guard, exp=first, jti="j-1")) as client:
            (before,) = await guard.connections()
            new = guard.issuer.token(sid="s-1", jti="j-2", exp=second)
            status, told = await post(guard, new)
            assert (status, told["connections"]) == (200, 1)
            assert 3 <= told["tokenLifetimeSeconds"] <= 6
            (after,) = await guard.connections()
            assert after["expiresAt"] > before["expiresAt"]
            await asyncio.sleep(first + 0.6 - time.time())
            await echoes(client, backend)
            assert await client.close_frame(20) == (4440, "session-expired")
            assert second <= time.time() <= second + 5
        line = await guard.log({"event": "session_renewed", "by": "renew"})
        assert (line["connections"], line["subject"], line["policy"]) == (1, "ann", "chat")
        assert not any(secret in str(guard.logs) for secret in ("s-1", "j-1", "j-2", new))
        assert await guard.metric("wsguard_session_renewals_total", policy="chat", result="renewed") == 1


@pytest.mark.parametrize("jti", ["j-1", "j-2"])
async def test_a_log_out_of_the_newer_token_cuts_and_of_the_one_that_opened_it_too(
    backend: RecordingBackend, jti: str
) -> None:
    async with Guard(backend, spec()) as guard, admitted(guard, old(guard, jti="j-1")) as client:
        assert (await post(guard, guard.issuer.token(sid="s-1", jti="j-2")))[0] == 200
        _, told = await guard.ask("POST", "/v1/logout", {"jti": jti})
        assert told["closed"] == 1
        assert await client.close_frame() == (4441, "logged-out")


async def test_whoever_renews_after_a_new_password_stays(backend: RecordingBackend) -> None:
    """`issuedBefore` is about the token that a connection lives by now."""
    async with Guard(backend, spec()) as guard:
        changed = int(time.time()) - 10
        async with admitted(guard, old(guard)) as here, admitted(guard, old(guard, sid="s-2")) as there:
            assert (await post(guard, guard.issuer.token(sid="s-1")))[1]["connections"] == 1
            _, told = await guard.ask("POST", "/v1/logout", {"subject": "ann", "issuedBefore": changed})
            assert told["closed"] == 1
            assert await there.close_frame() == (4441, "logged-out")
            await here.send(wire.frame(wire.TEXT, b"still here"))
            assert (await (await backend.conversation(0)).frame()).payload == b"still here"


async def test_a_foreign_page_and_an_older_token_change_nothing(backend: RecordingBackend) -> None:
    async with Guard(backend, spec()) as guard, admitted(guard, guard.issuer.token(sid="s-1")):
        (before,) = await guard.connections()
        status, told = await post(guard, guard.issuer.token(sid="s-1", lives=9000), "https://evil.test")
        assert (status, told["reason"]) == (403, "origin-denied")
        status, told = await post(guard, old(guard, lives=9000))
        assert (status, told["connections"]) == (200, 0)
        assert (await guard.connections()) == [before]


async def test_in_passing_by_a_handshake_and_by_a_request_that_is_forwarded(backend: RecordingBackend) -> None:
    async with (
        Guard(backend, spec(", renewal: Passive")) as guard,
        admitted(guard, old(guard)),
        admitted(guard, guard.issuer.token(sid="s-1", iat=int(time.time()) - 30, jti="j-2")),
    ):
        line = await guard.log({"event": "session_renewed", "by": "handshake"})
        assert line["connections"] == 1
        fields = [("Host", "localhost"), ("Sec-Fetch-Site", "same-origin")]
        fields += [("Cookie", f"session={guard.issuer.token(sid='s-1', lives=9000)}")]
        async with connect(guard.port) as client:
            await client.send(wire.request("GET", "/api", fields))
            assert (await client.head()).status == 200
        line = await guard.log({"event": "session_renewed", "by": "forwarded"})
        assert line["connections"] == 2


async def test_an_opaque_token_is_renewed_and_from_then_on_the_newer_one_is_asked_about(
    backend: RecordingBackend,
) -> None:
    """The old one is revoked, as some servers do when they issue a new one."""
    now, revoked = int(time.time()), set[str]()
    issued = {"one": now - 10, "two": now}

    async def answer(asked: Asked) -> Any:
        token = asked.form["token"]
        active = token in issued and token not in revoked
        body = {"active": active, "sub": "ann", "sid": "s-1", "iat": issued.get(token), "exp": now + 60}
        return await says(body if active else {"active": False})(asked)

    async with AskedService(answer) as service:
        text = policy(
            "introspection: {providers: [{name: op, clientID: guard, clientSecretFile: '{folder}/hmac.key', "
            f"endpoint: '{service.url}', extractFrom: {{cookies: [session]}}, cacheDuration: 1s}}]}}\n"
            "session: {clockSkew: 0s, revalidateEvery: 300ms}\n"
        )
        async with Guard(backend, text) as guard, admitted(guard, "one") as client:
            assert (await post(guard, "two"))[1]["connections"] == 1
            revoked.add("one")
            asked = len(service.asked)
            await eventually(lambda: len(service.asked) >= asked + 4, what="some questions")
            assert {each.form["token"] for each in service.asked[asked:]} == {"two"}
            await echoes(client, backend)
            revoked.add("two")
            assert await client.close_frame() == (4441, "session-invalid")


@asynccontextmanager
async def fragmenting_echo() -> AsyncIterator[str]:
    """A server on `websockets` that compresses, and sends each message in three fragments."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            third = len(message) // 3
            await socket.send([str(message[:third]), str(message[third : 2 * third]), str(message[2 * third :])])

    async with serve(echo, "127.0.0.1", 0, subprotocols=SUBPROTOCOLS) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.parametrize("server", [npm_echo, fragmenting_echo])
async def test_a_hint_stands_between_the_messages_of_a_server_that_compresses(
    server: Callable[[], AbstractAsyncContextManager[str]],
) -> None:
    """Both ends are libraries, with one deflate window for all messages."""
    hint = policy(JWT + "session: {clockSkew: 0s, expiryHint: {message: renew!, before: 2s}}\n")
    async with server() as url, Guard(url, hint) as guard:
        cookie = {"Cookie": f"session={guard.issuer.token(lives=4)}"}
        async with websockets.connect(
            f"{guard.ws}/ws", origin=Origin(guard.url), additional_headers=cookie, subprotocols=SUBPROTOCOLS
        ) as client:
            assert [type(each).__name__ for each in client.protocol.extensions] == ["PerMessageDeflate"]
            sending = asyncio.create_task(_talk(client))
            heard = await _listen(client)
            sending.cancel()
            await asyncio.wait([sending])
            assert (client.close_code, client.close_reason) == (4440, "session-expired")
    assert heard.count("renew!") == 1
    heard.remove("renew!")
    assert len(heard) > 10
    assert heard == [_text(number) for number in range(len(heard))]


def _text(number: int) -> str:
    return f"message {number}, and on and on " * 400


async def _listen(client: ClientConnection) -> list[str | bytes]:
    heard = []
    with suppress(websockets.ConnectionClosed):
        while True:
            heard.append(await client.recv())
    return heard


async def _talk(client: ClientConnection) -> None:
    with suppress(websockets.ConnectionClosed):
        for number in range(1_000_000):
            await client.send(_text(number))
            await asyncio.sleep(0.01)
