"""Going away without a stampede: spread closes, honest probes, exit 0."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually

CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  shutdown: {drainWindow: 2s}
"""


async def _crowd(stack: AsyncExitStack, guard: Guard, size: int) -> list[RawClient]:
    clients = [await stack.enter_async_context(connect(guard.port)) for _ in range(size)]
    for client in clients:
        await client.open(wire.upgrade())
    return clients


async def _leave(client: RawClient) -> tuple[float, int, str]:
    code, reason = await client.close_frame(20)
    return time.monotonic(), code, reason


async def _probe(guard: Guard, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{guard.admin}{path}") as response:
        return response.status


async def test_sigterm_drains_and_exits_0(backend: RecordingBackend) -> None:
    """Forty clients are told one by one over the window, each when to come back; new ones are told too."""
    async with Guard(backend, {"guard.yaml": CONFIG, "policy.yaml": policy()}) as guard, AsyncExitStack() as stack:
        clients = await _crowd(stack, guard, 40)
        leaving = [asyncio.create_task(_leave(client)) for client in clients]
        ending = asyncio.create_task(guard.terminate())
        await guard.log({"event": "drain_started"})
        assert await _probe(guard, "/readyz") == 503
        assert await _probe(guard, "/livez") == 200
        assert await guard.metric("wsguard_draining") == 1
        async with connect(guard.port) as late:
            await late.open(wire.upgrade())
            code, reason = await late.close_frame()
            assert (code, reason.split()[0]) == (1012, "draining")
        left = await asyncio.gather(*leaving)
        assert {(code, reason.split()[0]) for _, code, reason in left} == {(1012, "draining")}
        moments = sorted(moment for moment, _, _ in left)
        assert 1.0 <= moments[-1] - moments[0] <= 10.0
        assert max(later - sooner for sooner, later in itertools.pairwise(moments)) < 1.5
        assert len({reason.split("retry-after=")[1] for _, _, reason in left}) > 20
        assert await ending == 0


async def test_a_second_sigterm_or_no_clients_ends_at_once(backend: RecordingBackend) -> None:
    """Nobody to send away: nothing to wait for."""
    async with Guard(backend) as guard:
        began = time.monotonic()
        assert await guard.terminate() == 0
        assert time.monotonic() - began < 10


async def test_a_second_sigterm_hurries(backend: RecordingBackend) -> None:
    """Whatever the window and the cap: everyone who is left is told at once."""
    patient = CONFIG.replace("2s", "10m, maxClosesPerSecond: 1")
    async with Guard(backend, {"guard.yaml": patient, "policy.yaml": policy()}) as guard, AsyncExitStack() as stack:
        leaving = [asyncio.create_task(_leave(client)) for client in await _crowd(stack, guard, 20)]
        guard.program.process.send_signal(signal.SIGTERM)
        await guard.log({"event": "drain_started"})
        began = time.monotonic()
        assert await guard.terminate() == 0
        assert time.monotonic() - began < 20
        left = await asyncio.gather(*leaving)
        assert {(code, reason.split()[0]) for _, code, reason in left} == {(1012, "draining")}


async def test_handshakes_are_admitted_during_a_drain_by_choice(backend: RecordingBackend) -> None:
    """Unready all the same; and who comes in has to leave within the window."""
    hospitable = CONFIG.replace("2s", "2s, admitDuringDrain: true")
    async with Guard(backend, {"guard.yaml": hospitable, "policy.yaml": policy()}) as guard, AsyncExitStack() as stack:
        crowd = await _crowd(stack, guard, 5)
        await guard.ask("POST", "/v1/drain", {"window": "10m"})
        assert await _probe(guard, "/readyz") == 503
        late = await stack.enter_async_context(connect(guard.port))
        await late.open(wire.upgrade())
        assert len(await guard.connections()) > 1
        await guard.ask("POST", "/v1/drain", {"window": "1s"})
        for client in (*crowd, late):
            assert (await _leave(client))[1] == 1012
        await eventually(lambda: _counts(guard, total=6, closed=6, remaining=0), what="the newcomer counts as well")


async def test_an_operators_drain_keeps_the_process_up(backend: RecordingBackend) -> None:
    """`wsguard drain --wait` returns 0 when all have left; the guard stays, unready, until SIGTERM."""
    async with Guard(backend) as guard, AsyncExitStack() as stack:
        clients = await _crowd(stack, guard, 10)
        leaving = [asyncio.create_task(_leave(client)) for client in clients]
        waiting = asyncio.create_task(_probe(guard, "/drain/wait"))
        status, _ = await guard.command("drain", "--window", "1s", "--wait")
        assert status == 0
        await asyncio.gather(*leaving)
        assert await asyncio.wait_for(waiting, 20) == 200
        assert await _probe(guard, "/readyz") == 503
        assert await _probe(guard, "/livez") == 200
        began = time.monotonic()
        assert await guard.terminate() == 0
        assert time.monotonic() - began < 10


async def test_a_drain_can_be_taken_back(backend: RecordingBackend) -> None:
    """Those not yet cut stay, and new ones are let in again."""
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        assert (await guard.ask("POST", "/v1/drain", {"window": "10m"}))[0] == 200
        assert await _probe(guard, "/readyz") == 503
        status, _ = await guard.command("drain", "--cancel")
        assert status == 0
        assert await _probe(guard, "/readyz") == 200
        async with connect(guard.port) as another:
            await another.open(wire.upgrade())
            assert len(await guard.connections()) in (1, 2)


async def _counts(guard: Guard, **counts: int) -> bool:
    _, drain = await guard.ask("GET", "/v1/drain")
    return all(drain[name] == count for name, count in counts.items())


@pytest.mark.parametrize("how", ["silent", "not reading"])
async def test_stragglers_are_aborted(backend: RecordingBackend, how: str) -> None:
    """One that never answers its Close does not keep the process."""
    config = CONFIG.replace("2s", "500ms")
    async with (
        Guard(backend, {"guard.yaml": config, "policy.yaml": policy()}) as guard,
        connect(guard.port, receive_buffer=4096) as client,
    ):
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        if how == "not reading":
            conversation.writer.write(wire.frame(wire.BINARY, b"x" * 20_000_000, masked=False))
            await eventually(lambda: _passed(guard, 100_000))
        began = time.monotonic()
        assert await guard.terminate() == 0
        assert time.monotonic() - began < 10


async def _passed(guard: Guard, count: int) -> bool:
    return await guard.metric("wsguard_transferred_bytes_total", direction="backend_to_client") > count
