"""A token is fetched from the door and shown to it, in either place, and no backend ever sees one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.policy.minting import provider
from tests.proxy.house import House
from tests.proxy.tunnel import QUICK
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.wire import Head
from wsguard.policy.effective import Effective
from wsguard.policy.handshake_token import TokenKeys
from wsguard.policy.model import Enforcement, HandshakeToken, Jwt, OriginSpec, PolicySpec
from wsguard.policy.origin import OriginPattern
from wsguard.proxy.handshake_token import PATH, HandshakeTokenEndpoint
from wsguard.sessions.identity import Identity

LOOPS = ["uvloop"]

HOST, COOKIE = ("Host", "localhost"), ("Cookie", "session=mine")
HOME, EVIL = "http://localhost", "https://evil.test"
ANN = Identity("corp", "https://idp", "ann", "cookie:session", expires_at=9e9, claims={"sub": "ann", "exp": 9e9})
JWT = Jwt(
    providers=(
        provider("HS256", extract_from={"cookies": [{"name": "session"}], "subprotocols": [{"prefix": "bearer."}]}),
    )
)
ANY = (OriginPattern.parse("*"),)


@asynccontextmanager
async def guarded(
    backend: RecordingBackend, *, required: bool = True, max_age: float = 60.0, **spec: Any
) -> AsyncIterator[House]:
    token = HandshakeToken(required=required, secret_file="keys", max_age=max_age)
    origins = {"allow_origins": spec.pop("allow_origins")} if "allow_origins" in spec else {}
    origin = spec.pop("origin", OriginSpec(handshake_token=token, **origins))
    fields = {"jwt": JWT, "rejection": QUICK, "origin": origin, **spec}
    keys = {"keys": TokenKeys(bytes(range(32)))}

    async def route(request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        return await HandshakeTokenEndpoint(house.env)(request, effective)

    house = House(backend, PolicySpec(**fields), routes={PATH: route})
    house.facts.identity = ANN
    async with house:
        house.env.token_keys = lambda: keys
        yield house


async def fetch(
    house: House, *fields: tuple[str, str], origin: str = HOME, body: bytes = b"", path: str = "/ws"
) -> tuple[Head, Any]:
    async with connect(house.port) as client:
        more = [("Content-Length", str(len(body))), ("Content-Type", "application/json")] if body else []
        given = [HOST, ("Origin", origin), *(fields or [COOKIE]), *more]
        await client.send(wire.request("POST", f"{PATH}?path={path}", given) + body)
        head = await client.head()
        return head, json.loads(await client.body(head))


async def token(house: House, *fields: tuple[str, str], **more: Any) -> str:
    head, told = await fetch(house, *fields, **more)
    assert head.status == 200, told
    return str(told["token"])


async def admitted(house: House, backend: RecordingBackend, target: str = "/ws", **handshake: Any) -> tuple[Head, Head]:
    """The 101, and what the backend was asked."""
    handshake = {"origin": HOME, "fields": [COOKIE], **handshake}
    async with connect(house.port) as client:
        head = await client.open(wire.upgrade(target, **handshake))
        conversation = await backend.conversation()
        conversation.close()
    return head, backend.upgrades[-1]


async def refused(house: House, target: str = "/ws", **handshake: Any) -> tuple[int, str]:
    handshake = {"origin": HOME, "fields": [COOKIE], **handshake}
    async with connect(house.port) as client:
        await client.open(wire.upgrade(target, **handshake))
        return await client.close_frame()


INVALID = (4403, "handshake-token-invalid")


async def test_a_page_fetches_one_and_shows_it_in_its_query(backend: RecordingBackend) -> None:
    async with guarded(backend) as house:
        head, told = await fetch(house)
        assert (head.status, told["expiresIn"], sorted(told)) == (200, 60, ["expiresIn", "token"])
        assert head.get("cache-control") == "no-store"
        assert head.get("cross-origin-resource-policy") == "same-origin"
        _, seen = await admitted(house, backend, f"/ws?a=b&wsguard_token={told['token']}&c=%20")
        assert seen.target == "/ws?a=b&c=%20"
        _, seen = await admitted(house, backend, f"/ws?wsguard_token={told['token']}")
        assert seen.target == "/ws"
        assert told["token"] not in repr(house.notebook.decisions)


@pytest.mark.parametrize(
    ("before", "after", "backends", "echoed"),
    [((), (), None, True), (("chat",), (), "chat", False), (("a", "b"), ("c",), "a, b, c", False)],
)
async def test_or_in_a_subprotocol_which_is_echoed_where_there_is_no_other(
    backend: RecordingBackend, before: tuple[str, ...], after: tuple[str, ...], backends: str | None, echoed: bool
) -> None:
    """Else the browser would fail the handshake (RFC 6455 §4.1)."""
    async with guarded(backend) as house:
        offer = f"wsguard.token.{await token(house)}"
        head, seen = await admitted(house, backend, subprotocols=", ".join((*before, offer, *after)))
        offered = seen.get("sec-websocket-protocol")
        assert (offered and [item.strip() for item in offered.split(",")]) == (backends and backends.split(", "))
        assert head.get("sec-websocket-protocol") == (offer if echoed else None)


async def test_a_credential_in_a_subprotocol_beside_it(backend: RecordingBackend) -> None:
    """Asked for with the same in the body; both are hidden from the backend."""
    async with guarded(backend) as house:
        mine = await token(house, ("Accept", "*/*"), body=b'{"protocols": ["chat", "bearer.xyz"]}')
        offers = f"bearer.xyz, wsguard.token.{mine}"
        head, seen = await admitted(house, backend, subprotocols=offers, fields=[])
        assert seen.get("sec-websocket-protocol") is None
        assert head.get("sec-websocket-protocol") == "bearer.xyz"
        assert await refused(house, subprotocols=f"bearer.abc, wsguard.token.{mine}", fields=[]) == INVALID


async def test_whoever_shows_none_or_a_bad_one_or_anothers_is_refused(backend: RecordingBackend) -> None:
    async with guarded(backend) as house:
        mine = await token(house)
        spoiled = ("B" if mine[40] == "A" else "A").join((mine[:40], mine[41:]))
        assert await refused(house) == INVALID
        assert await refused(house, "/ws?wsguard_token=") == INVALID
        assert await refused(house, f"/ws?wsguard_token={spoiled}") == INVALID
        assert await refused(house, f"/ws?wsguard_token={mine}", fields=[("Cookie", "session=other")]) == INVALID
        assert await refused(house, f"/ws?wsguard_token={mine}", fields=[]) == INVALID
        assert await refused(house, f"/ws?wsguard_token={mine}&wsguard_token={mine}") == INVALID
        assert await refused(house, f"/ws?wsguard_token={mine}", subprotocols="wsguard.token.x") == INVALID
        assert mine not in repr(house.notebook.decisions)
        assert not backend.conversations
        await admitted(house, backend, f"/ws?wsguard_token={mine}", subprotocols=f"wsguard.token.{mine}")


async def test_it_can_be_used_again_until_it_is_old(backend: RecordingBackend) -> None:
    async with guarded(backend, max_age=30.0) as house:
        mine = await token(house)
        for _ in range(2):
            await admitted(house, backend, f"/ws?wsguard_token={mine}")
        house.clock.wall_offset += 31.0
        assert await refused(house, f"/ws?wsguard_token={mine}") == INVALID
        await admitted(house, backend, f"/ws?wsguard_token={await token(house)}")


async def test_one_that_is_shown_is_judged_where_none_is_required(backend: RecordingBackend) -> None:
    async with guarded(backend, required=False) as house:
        await admitted(house, backend)
        assert await refused(house, "/ws?wsguard_token=x") == INVALID


async def test_it_excuses_no_foreign_origin(backend: RecordingBackend) -> None:
    async with guarded(backend) as house:
        head, told = await fetch(house, origin=EVIL)
        assert (head.status, told["reason"]) == (403, "origin-denied")
        mine = await token(house)
        assert await refused(house, f"/ws?wsguard_token={mine}", origin=EVIL) == (4403, "origin-denied")


async def test_where_any_origin_may_connect_a_page_learns_nothing_by_a_token_of_its_own_session(
    backend: RecordingBackend,
) -> None:
    """Not whether its visitor is logged in: the answer is one, with his cookie, without, and with none that is good."""
    async with guarded(backend, allow_origins=ANY) as house:
        theirs = await token(house, ("Cookie", "session=attackers"), origin=EVIL)
        target = f"/ws?wsguard_token={theirs}"
        for jar in ([COOKIE], [], [("Cookie", "session=x")], [("Cookie", "session=a; session=b")]):
            assert await refused(house, target, origin=EVIL, fields=jar) == INVALID
            assert await refused(house, origin=EVIL, fields=jar) == INVALID
        mine = await token(house)
        assert await refused(house, f"/ws?wsguard_token={mine}", origin=EVIL) == INVALID
        await admitted(house, backend, f"/ws?wsguard_token={mine}")


@pytest.mark.parametrize("sent", ["good", "bad"])
async def test_audit_lets_a_bad_one_through_and_no_backend_sees_it(backend: RecordingBackend, sent: str) -> None:
    async with guarded(backend, enforcement=Enforcement.AUDIT) as house:
        shown = await token(house) if sent == "good" else "x"
        _, seen = await admitted(house, backend, f"/ws?wsguard_token={shown}", subprotocols=f"a, wsguard.token.{shown}")
        assert (seen.target, seen.get("sec-websocket-protocol")) == ("/ws", "a")
        assert house.notebook.decisions[-1].result == ("admitted" if sent == "good" else "audited")


async def test_a_policy_without_tokens_gives_none_and_passes_none_on(backend: RecordingBackend) -> None:
    async with guarded(backend, origin=OriginSpec()) as house:
        head, told = await fetch(house)
        assert (head.status, told["title"]) == (404, "Not Found")
        assert [status for status, _ in house.notebook.turned] == [404]
        _, seen = await admitted(house, backend, "/ws?WSGuard_Token=x", subprotocols="chat,wsguard.token.x")
        assert (seen.target, seen.get("sec-websocket-protocol")) == ("/ws", "chat")


async def test_a_refusal_echoes_the_subprotocol_that_is_no_token(backend: RecordingBackend) -> None:
    """A browser reads the close code only if the 101 has one that it offered."""
    async with guarded(backend) as house:
        for offers, echoed in (("wsguard.token.x, chat", "chat"), ("wsguard.token.x", "wsguard.token.x")):
            async with connect(house.port) as client:
                head = await client.open(wire.upgrade(origin=HOME, subprotocols=offers, fields=[COOKIE]))
                assert head.get("sec-websocket-protocol") == echoed
                assert await client.close_frame() == INVALID
