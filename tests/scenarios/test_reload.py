"""Policies change under live connections, as one atomic whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import wire
from tests.support.backend import RecordingBackend, accept
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy
from tests.support.tokens import Issuer

OPEN = policy()
CLOSED = policy("origin: {allowOrigins: [https://nobody.example], missing: Deny}")


@pytest.fixture
def backend(backend: RecordingBackend) -> RecordingBackend:
    """Here it echoes, so that a Close of 1000 comes back from it."""
    backend.answer = accept(echo=True)
    return backend


async def _first_word(guard: Guard) -> str:
    """`open`, or the reason of the refusal."""
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(origin="http://localhost"))
        await client.send(wire.close_frame(1000))
        code, reason = await client.close_frame()
        return "open" if code == 1000 else reason


async def test_a_new_policy_holds_for_new_connections(backend: RecordingBackend) -> None:
    """Live ones stay."""
    async with Guard(backend, OPEN) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        guard.write("policy.yaml", CLOSED)
        await guard.log({"event": "policies_loaded"}, count=2)
        assert await _first_word(guard) == "origin-denied"
        await client.send(wire.frame(wire.TEXT, b"still here"))
        assert (await client.frame()).payload == b"still here"


async def test_a_broken_file_changes_nothing_and_says_so(backend: RecordingBackend) -> None:
    """In the log, the metric and the API; mending it is enough."""
    async with Guard(backend, OPEN) as guard:
        guard.write("policy.yaml", CLOSED.replace("missing: Deny", "missing: Perhaps"))
        line = await guard.log({"event": "reload_refused"})
        assert "policy.yaml:" in str(line)
        assert await _first_word(guard) == "open"
        assert await guard.metric("wsguard_policy_reloads_total", result="failure") == 1
        _, loaded = await guard.ask("GET", "/v1/policies")
        assert "policy.yaml:" in loaded["lastError"]
        guard.write("policy.yaml", CLOSED)
        await guard.log({"event": "policies_loaded"}, count=2)
        assert await _first_word(guard) == "origin-denied"
        _, loaded = await guard.ask("GET", "/v1/policies")
        assert loaded["lastError"] is None


async def test_a_listener_that_moves_needs_a_restart(backend: RecordingBackend) -> None:
    """The whole reload is refused, the policy in it too."""
    config = "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {listener: {handshakeTimeout: %s}}\n"
    async with Guard(backend, {"guard.yaml": config % "5s", "policy.yaml": OPEN}) as guard:
        guard.write("guard.yaml", config % "6s" + "---\n" + CLOSED.replace("name: chat", "name: other"))
        await guard.log({"event": "reload_refused"})
        assert await _first_word(guard) == "open"


async def test_a_configmap_swaps(backend: RecordingBackend, tmp_path: Path) -> None:
    """As the kubelet does it: a new folder, then the `..data` link, in one rename."""
    mount = tmp_path / "mount"
    mount.mkdir()
    _project(mount, "..1", OPEN)
    (mount / "policy.yaml").symlink_to("..data/policy.yaml")
    async with Guard(backend, "", "--policy", str(mount)) as guard:
        assert await _first_word(guard) == "open"
        _project(mount, "..2", CLOSED)
        shutil.rmtree(mount / "..1")
        await guard.log({"event": "policies_loaded"}, count=2)
        assert await _first_word(guard) == "origin-denied"


def _project(mount: Path, version: str, text: str) -> None:
    (mount / version).mkdir()
    (mount / version / "policy.yaml").write_text(text)
    (mount / "..data_tmp").symlink_to(version)
    os.replace(mount / "..data_tmp", mount / "..data")


async def test_a_rotated_secret_is_taken_over(backend: RecordingBackend) -> None:
    """A key file is part of the whole that is reloaded."""
    old, new = Issuer.of("HS256"), Issuer.of("HS256", "k2")
    async with Guard(backend, policy(JWT)) as guard:
        new.write_secret(guard.folder / ".next")
        (guard.folder / ".next").rename(guard.folder / "hmac.key")
        await guard.log({"event": "policies_loaded"}, count=2)
        for issuer, expected in ((old, (4401, "credential-invalid")), (new, (1000, ""))):
            async with connect(guard.port) as client:
                cookie = ("Cookie", f"session={issuer.token()}")
                await client.open(wire.upgrade(origin="http://localhost", fields=[cookie]))
                await client.send(wire.close_frame(1000))
                assert await client.close_frame() == expected
