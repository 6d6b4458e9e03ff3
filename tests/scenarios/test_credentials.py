"""Every place a token may stand, every kind of key: read by the guard, and erased where the backend may not see it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.scenarios.servers import serve_aiohttp
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.tokens import Issuer
from tests.support.wire import Head

K8S = "base64url.bearer.authorization.k8s.io."


def _spec(extract: str, provider: str = "localSecretFile: {folder}/hmac.key", algorithm: str = "HS256") -> str:
    return f"""
jwt:
  providers:
  - name: corp
    issuer: https://idp.example.test
    audiences: [chat]
    algorithms: [{algorithm}]
    {provider}
    extractFrom: {extract}
"""


async def _handshake(guard: Guard, backend: RecordingBackend, path: str, *fields: tuple[str, str]) -> Head:
    """What the backend gets of an admitted handshake."""
    before = len(backend.upgrades)
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(path, origin="http://localhost", fields=fields))
    assert len(backend.upgrades) == before + 1, "the handshake was refused"
    return backend.upgrades[-1]


async def test_a_cookie_is_erased_and_the_jar_stays(backend: RecordingBackend) -> None:
    """Byte for byte, odd spacing included."""
    async with Guard(backend, policy(_spec("{cookies: [{name: session, forward: false}]}"))) as guard:
        jar = f'a=1; session={guard.issuer.token()}; b="2 ";  c'
        head = await _handshake(guard, backend, "/ws", ("Cookie", jar))
    (left,) = head.all("cookie")
    assert "session" not in left
    assert [item.strip() for item in left.split(";") if item.strip()] == ["a=1", 'b="2 "', "c"]


async def test_a_cookie_is_forwarded_by_default(backend: RecordingBackend) -> None:
    """The app may want it."""
    async with Guard(backend, policy(_spec("{cookies: [session]}"))) as guard:
        jar = f"a=1; session={guard.issuer.token()}; b=2"
        assert (await _handshake(guard, backend, "/ws", ("Cookie", jar))).get("cookie") == jar


async def test_a_parameter_is_erased_and_the_query_stays(backend: RecordingBackend) -> None:
    """By default, also where its name is escaped."""
    async with Guard(backend, policy(_spec("{params: [access_token]}"))) as guard:
        token = guard.issuer.token()
        for query, left in (
            (f"?a=%2f&access_token={token}&b=1+2", "?a=%2f&b=1+2"),
            (f"?access_token={token}", ""),
            (f"?%61ccess_token={token}&x", "?x"),
        ):
            head = await _handshake(guard, backend, f"/ws{query}")
            assert head.target == f"/ws{left}"
        assert token not in "".join(guard.program.lines)


async def test_a_header_is_forwarded_or_erased(backend: RecordingBackend) -> None:
    """Authorization by default, as Envoy does it; another header where the policy says not."""
    async with Guard(backend, policy(_spec("{headers: [{name: Authorization, valuePrefix: 'Bearer '}]}"))) as guard:
        value = f"Bearer {guard.issuer.token()}"
        assert (await _handshake(guard, backend, "/ws", ("Authorization", value))).get("authorization") == value
    async with Guard(backend, policy(_spec("{headers: [{name: X-Token, forward: false}]}"))) as guard:
        head = await _handshake(guard, backend, "/ws", ("X-Token", guard.issuer.token()))
        assert head.get("x-token") is None


@pytest.mark.parametrize("chosen", ["chat", None])
async def test_a_subprotocol_carries_a_token(backend: RecordingBackend, chosen: str | None) -> None:
    """It never reaches the backend, and the others do."""
    backend.answer = answers.accept(chosen)
    async with Guard(backend, policy(_spec("{subprotocols: ['bearer.']}"))) as guard, connect(guard.port) as client:
        offer = f"bearer.{guard.issuer.token()}, chat"
        answer = await client.open(wire.upgrade(origin="http://localhost", subprotocols=offer))
        assert answer.get("sec-websocket-protocol") == chosen
        assert (await backend.conversation()).requests[0].get("sec-websocket-protocol") == "chat"


async def test_the_only_subprotocol_is_echoed(backend: RecordingBackend) -> None:
    """The backend is offered none and chooses none; a browser would fail the handshake without the echo."""
    async with Guard(backend, policy(_spec("{subprotocols: ['bearer.']}"))) as guard, connect(guard.port) as client:
        offer = f"bearer.{guard.issuer.token()}"
        answer = await client.open(wire.upgrade(origin="http://localhost", subprotocols=offer))
        assert answer.get("sec-websocket-protocol") == offer
        assert (await backend.conversation()).requests[0].get("sec-websocket-protocol") is None


async def test_kubernetes_subprotocol(backend: RecordingBackend) -> None:
    """The token as unpadded base64url behind the API server's prefix."""
    backend.answer = answers.accept("v4.channel.k8s.io")
    extract = f"{{subprotocols: [{{prefix: {K8S}, encoding: Base64URL}}]}}"
    async with Guard(backend, policy(_spec(extract))) as guard, connect(guard.port) as client:
        packed = base64.urlsafe_b64encode(guard.issuer.token().encode()).decode().rstrip("=")
        offer = f"{K8S}{packed}, v4.channel.k8s.io"
        answer = await client.open(wire.upgrade(origin="http://localhost", subprotocols=offer))
        assert answer.get("sec-websocket-protocol") == "v4.channel.k8s.io"
        assert (await backend.conversation()).requests[0].get("sec-websocket-protocol") == "v4.channel.k8s.io"


@pytest.mark.parametrize("refusal", ["missing", "twice", "elsewhere"])
async def test_what_is_no_single_credential_is_refused(backend: RecordingBackend, refusal: str) -> None:
    """Twice with different values is nobody's; a place the policy does not name is no place."""
    async with Guard(backend, policy(_spec("{params: [access_token]}"))) as guard, connect(guard.port) as client:
        first, second = guard.issuer.token("ann"), guard.issuer.token("bob")
        query = {"missing": "", "twice": f"?access_token={first}&access_token={second}", "elsewhere": f"?token={first}"}
        await client.open(wire.upgrade(f"/ws{query[refusal]}", origin="http://localhost"))
        reason = "credential-invalid" if refusal == "twice" else "credential-missing"
        assert await client.close_frame() == (4401, reason)
        assert not backend.requests


ALGORITHMS = ["RS256", "PS384", "ES256", "ES512", "EdDSA"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_public_keys_of_a_local_file(backend: RecordingBackend, algorithm: str) -> None:
    """Made and signed by another library; another key of the same kind is refused."""
    issuer = Issuer.of(algorithm)
    policies = {
        "jwks.json": issuer.jwks(),
        "policy.yaml": policy(_spec("{cookies: [session]}", "localJWKS: {file: {folder}/jwks.json}", algorithm)),
    }
    async with Guard(backend, policies) as guard:
        await _handshake(guard, backend, "/ws", ("Cookie", f"session={issuer.token()}"))
        forged = Issuer.of(algorithm, "k2")
        for token in (forged.token(), guard.issuer.token()):
            async with connect(guard.port) as client:
                await client.open(wire.upgrade(origin="http://localhost", fields=[("Cookie", f"session={token}")]))
                assert await client.close_frame() == (4401, "credential-invalid")


class KeyServer:
    """An identity provider's JWKS endpoint that counts, and that can be made to fail."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.fetches = 0
        self.status = 200
        self.uri = ""

    async def answer(self, request: web.Request) -> web.Response:
        """The document, or the failure."""
        self.fetches += 1
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    """A running KeyServer."""
    server = KeyServer()
    async with serve_aiohttp(web.get("/jwks", server.answer)) as url:
        server.uri = f"{url}/jwks"
        yield server


async def test_remote_keys_rotate_and_may_be_away(backend: RecordingBackend, key_server: KeyServer) -> None:
    """Fetched once, again for an unknown kid, and kept in use while the provider is down."""
    old, new = Issuer.of("RS256", "old"), Issuer.of("RS256", "new")
    key_server.keys = json.loads(old.jwks())["keys"]
    remote = f'remoteJWKS: {{uri: "{key_server.uri}", failedRefetchDuration: 100ms}}'
    async with Guard(backend, policy(_spec("{cookies: [session]}", remote, "RS256"))) as guard:
        for _ in range(3):
            await _handshake(guard, backend, "/ws", ("Cookie", f"session={old.token()}"))
        assert key_server.fetches == 1
        key_server.keys += json.loads(new.jwks())["keys"]
        await asyncio.sleep(0.2)  # unknown kids cause a fetch at most every failedRefetchDuration
        await _handshake(guard, backend, "/ws", ("Cookie", f"session={new.token()}"))
        assert key_server.fetches == 2
        key_server.status = 500
        await _handshake(guard, backend, "/ws", ("Cookie", f"session={new.token('bob')}"))
        await _handshake(guard, backend, "/ws", ("Cookie", f"session={old.token('bob')}"))
        assert await guard.metric("wsguard_jwks_fetches_total", provider="corp", result="success") == 2


async def test_no_keys_at_all_is_not_the_clients_fault(backend: RecordingBackend, key_server: KeyServer) -> None:
    """1011, and come back; never an admission."""
    key_server.status = 500
    remote = f'remoteJWKS: {{uri: "{key_server.uri}"}}'
    async with Guard(backend, policy(_spec("{cookies: [session]}", remote, "RS256"))) as guard:
        async with connect(guard.port) as client:
            cookie = ("Cookie", f"session={Issuer.of('RS256').token()}")
            await client.open(wire.upgrade(origin="http://localhost", fields=[cookie]))
            code, reason = await client.close_frame()
            assert (code, reason.split()[0]) == (1011, "identity-unavailable")
        assert not backend.requests
