"""What `helm test` runs, against a real guard, a backend without one, and nobody."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helm.charts import GIVEN, one, template
from tests.support.backend import RecordingBackend, reply
from tests.support.guard import Guard, policy
from tests.support.ports import free_port
from tests.support.programs import ROOT, Program

KNOCK = ROOT / "helm/wsguard-gateway/files/knock.py"


async def knock(port: int, path: str = "/") -> tuple[int, str]:
    """Exit status, and what was said."""
    program = Program(sys.executable, KNOCK, "127.0.0.1", str(port), path)
    await program.start()
    return await program.wait(), "\n".join([*program.lines, *program.errors])


@pytest.fixture
async def guard(backend: RecordingBackend) -> AsyncIterator[Guard]:
    public = policy("match: {paths: [{type: PathPrefix, value: /feed}]}\norigin: {allowOrigins: ['*']}", "feed")
    by_status = "rejection: {mode: HTTPStatus, foreignOrigin: HTTPStatus}"
    private = policy(f"match: {{paths: [{{type: PathPrefix, value: /status}}]}}\n{by_status}", "status")
    async with Guard(backend, {"feed.yaml": public, "status.yaml": private}) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/elsewhere"])
async def test_a_guard_refuses_and_that_is_well(guard: Guard, path: str) -> None:
    assert await knock(guard.port, path) == (0, "refused, as it should be: 4403 origin-denied")


async def test_a_refusal_by_status_is_one_too(guard: Guard) -> None:
    assert await knock(guard.port, "/status") == (0, "")


async def test_a_policy_that_lets_everybody_in_is_found(guard: Guard) -> None:
    status, said = await knock(guard.port, "/feed")
    assert (status, said.partition(":")[0]) == (1, "a foreign page was let in")


async def test_a_refusal_by_the_backend_is_none(guard: Guard, backend: RecordingBackend) -> None:
    backend.answer = reply(404)
    expected = "the handshake was refused, but not as a foreign one: 4404 backend-refused"
    assert await knock(guard.port, "/feed") == (1, expected)


async def test_a_backend_without_a_guard_is_found(backend: RecordingBackend) -> None:
    status, said = await knock(backend.port)
    assert (status, said.partition(":")[0]) == (1, "a foreign page was let in")


async def test_nobody_there() -> None:
    status, said = await knock(free_port())
    assert status == 1
    assert said.startswith("no answer from 127.0.0.1:")


def test_the_pod_runs_it_as_the_guards_user_without_a_shell(gateway: Path) -> None:
    made = one(template(gateway, {"wsguard": GIVEN, "service": {"port": 8443}, "helmTest": {"path": "/ws"}}), "Pod")
    (container,) = made["spec"]["containers"]
    python, flag, script, *arguments = container["command"]
    assert (python, flag, arguments) == ("python3", "-c", ["chat-wsguard.live.svc", "8443", "/ws"])
    assert script.strip() == KNOCK.read_text("utf-8").strip()
    assert container["securityContext"]["runAsUser"] == 65532
    assert made["metadata"]["annotations"]["helm.sh/hook"] == "test"
