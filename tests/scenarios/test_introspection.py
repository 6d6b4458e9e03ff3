"""Opaque access tokens of a real OpenID provider, which says whom they speak for (RFC 7662)."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from tests.scenarios.provider import SECRET, Provider, running
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard, policy
from tests.support.programs import Program
from tests.support.waiting import eventually

SPEC = """
introspection:
  providers:
  - name: op
    endpoint: {url}/token/introspection
    clientID: guard
    clientSecretFile: {{folder}}/client.secret
    issuer: {url}
    cacheDuration: {cache}
    extractFrom: {{subprotocols: ["bearer."]}}
    claimToHeaders: [{{claim: sub, header: X-User}}]
session: {{revalidateEvery: 500ms, revalidateGrace: {grace}, clockSkew: 0s}}
authorization:
  rules: [{{action: Allow, principal: {{jwt: {{provider: op, scopes: [openid]}}}}}}]
"""


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as op:
        yield op


def guarded(
    backend: RecordingBackend, provider: Provider, secret: str = SECRET, cache: str = "30s", grace: str = "60s"
) -> Guard:
    guard = Guard(backend, policy(SPEC.format(url=provider.url, cache=cache, grace=grace)))
    (guard.folder / "client.secret").write_text(f"{secret}\n")
    return guard


def handshake(token: str, origin: str = "http://localhost") -> bytes:
    return wire.upgrade(origin=origin, fields=[("Sec-WebSocket-Protocol", f"chat, bearer.{token}")])


async def come_in(client: RawClient, token: str) -> None:
    await client.open(handshake(token))


async def refused(guard: Guard, token: str) -> tuple[int, str]:
    async with connect(guard.port) as client:
        await client.open(handshake(token))
        code, reason = await client.close_frame()
        return code, reason.partition(" ")[0]


async def test_a_token_opens_the_door_until_it_is_revoked(backend: RecordingBackend, provider: Provider) -> None:
    async with guarded(backend, provider, cache="0s") as guard:
        ann, bob = await provider.mint("ann"), await provider.mint("bob")
        async with connect(guard.port) as mine, connect(guard.port) as other:
            await come_in(mine, ann)
            await come_in(other, bob)
            head = backend.upgrades[0]
            assert (head.get("X-User"), head.get("Sec-WebSocket-Protocol")) == ("ann", "chat")
            await provider.revoke(ann)
            assert await mine.close_frame() == (4441, "session-invalid")
            assert await refused(guard, ann) == (4401, "credential-invalid")
            line = await guard.ended(reason="session-invalid")
            assert [item["subject"] for item in await guard.connections()] == ["bob"]
        assert (line["subject"], line["issuer"], line["provider"]) == ("ann", provider.url, "op")
        said = "\n".join(guard.program.lines + guard.program.errors)
        assert not any(secret in said for secret in (ann, bob, SECRET))
        assert await guard.metric("wsguard_identity_requests_total", provider="op", result="no") >= 2


async def test_the_answers_exp_cuts(backend: RecordingBackend) -> None:
    async with running(lifetime=3) as provider, guarded(backend, provider) as guard, connect(guard.port) as client:
        await come_in(client, await provider.mint("ann"))
        code, reason = await client.close_frame(20)
        # The provider forgets a token at its exp: whichever is noticed first.
        assert (code, reason) in ((4440, "session-expired"), (4441, "session-invalid"))


async def test_a_token_that_nobody_issued_is_refused(backend: RecordingBackend, provider: Provider) -> None:
    async with guarded(backend, provider) as guard:
        assert await refused(guard, "guessed") == (4401, "credential-invalid")
        assert backend.upgrades == []


async def test_a_guard_that_the_provider_does_not_know_admits_nobody(
    backend: RecordingBackend, provider: Provider
) -> None:
    async with guarded(backend, provider, secret="another") as guard:
        assert await refused(guard, await provider.mint("ann")) == (1011, "identity-unavailable")
        line = await guard.decided(reason="identity-unavailable")
        assert "answered 401" in line["detail"]


async def test_a_secret_that_rotates_counts_at_once(backend: RecordingBackend, provider: Provider) -> None:
    async with guarded(backend, provider, secret="another") as guard:
        token = await provider.mint("ann")
        assert await refused(guard, token) == (1011, "identity-unavailable")
        loaded = await guard.metric("wsguard_policy_reloads_total", result="success")
        guard.write("client.secret", SECRET)

        async def is_reloaded() -> bool:
            return await guard.metric("wsguard_policy_reloads_total", result="success") > loaded

        await eventually(is_reloaded, what="the reload")
        async with connect(guard.port) as client:
            await come_in(client, token)


@pytest.mark.parametrize("is_good", [True, False])
async def test_explain_asks_as_a_running_guard_does(
    backend: RecordingBackend, provider: Provider, *, is_good: bool
) -> None:
    token = await provider.mint("ann") if is_good else "guessed"
    async with guarded(backend, provider) as guard:
        program = Program(
            sys.executable, "-m", "wsguard", "explain", "--policy", str(guard.folder),
            "--url", "ws://localhost/", "--origin", "http://localhost",
            "--header", f"Sec-WebSocket-Protocol: chat, bearer.{token}",
        )  # fmt: skip
        await program.start()
        assert await program.wait() == 0
        told = "\n".join(program.lines)
        assert token not in told
        if is_good:
            assert "admitted by policy chat as ann of " + provider.url in told
            assert "asked again about every 0.5 s" in told
            assert "hidden from the backend: subprotocol:bearer." in told
            assert "added for the backend: X-User: ann" in told
        else:
            assert "credentials      NO  subprotocol:bearer.: it is not active" in told
            assert "refused: 4401 credential-invalid" in told
