"""A rolling deploy under clients that number their messages both ways: with wsguard, without, and with replicas killed.

python -m benchmarks rollout --clients 1000 --window 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.report import machine
from benchmarks.rollout_hub import Hub
from benchmarks.rollout_report import Deploy, Deploys, Manner
from tests.support.guard import Guard, policy
from tests.support.ports import free_port
from tests.support.programs import Program, node
from wsguard.demo.balancer import Balancer

REPLICAS = 3
READY = 30.0  # seconds within which a replica must be
OPENED = 120.0  # seconds within which all clients must be connected
ENDED = 60.0  # seconds after its window in which a replica must be gone


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a deploy is. Times are in seconds.

    Each client speaks and is spoken to once in `every`. A replica hints `grace` before it closes. After the last end
    all goes on for `rest`.
    """

    clients: int
    window: float
    every: float = 1.0
    grace: float = 5.0
    rest: float = 12.0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `python -m benchmarks rollout`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks rollout", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--window", type=float, default=30.0, metavar="SECONDS", help="over which each replica drains")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write everything into this folder")
    return parser.parse_args(arguments)


async def measure(clients: int, window: float) -> Deploys:
    """The deploy in each manner. Raises AssertionError where a party does not do its part."""
    facts, deploys = machine(), []
    for manner in Manner:
        print(f"{REPLICAS} replicas are replaced under {clients} clients, {manner.value}", file=sys.stderr)
        deploys.append(await deploy(manner, Scale(clients, window)))
    return Deploys(deploys, facts)


class Replica:
    """A backend, and unless the manner is `BARE` a guard before it: a pod. An `Endpoint` of the balancer."""

    def __init__(self, manner: Manner, scale: Scale, hub: int) -> None:
        backend = free_port()
        self._manner, self._scale = manner, scale
        self._backend = Program(sys.executable, "-m", "benchmarks.rollout_backend", str(backend), str(hub))
        self._guard: Guard | None = None
        self.port, self.probes, self.is_ending = backend, [f"http://127.0.0.1:{backend}/readyz"], False
        if manner is not Manner.BARE:
            hint = f"migration: {{hint: {{dialect: custom, grace: {scale.grace:g}s}}}}"
            settings = f"{{shutdown: {{drainWindow: {scale.window:g}s}}, logging: {{level: warning}}}}"
            document = f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {settings}\n"
            self._guard = Guard(f"http://127.0.0.1:{backend}", {"policy.yaml": policy(hint), "guard.yaml": document})
            self.port = self._guard.port
            self.probes.append(f"{self._guard.admin}/readyz")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both processes; what is left of them at the end is ended."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._backend)
            if self._guard is not None:
                await stack.enter_async_context(self._guard)
            yield

    async def end(self, balancer: Balancer) -> None:
        """End as the manner has it, once `balancer` has heard of it.

        Raises AssertionError where a process does not end, or with an exit status other than 0.
        """
        if self._manner is Manner.KILLED:
            assert self._guard is not None
            for program in (self._guard.program, self._backend):
                program.process.kill()
                await program.wait()
            return
        self.is_ending = True
        await balancer.until_gone(self)
        if self._guard is not None:
            await self._drain(self._guard)
        self._backend.process.terminate()
        assert await self._backend.wait() == 0, self._backend.errors

    async def _drain(self, guard: Guard) -> None:
        """The guard is told to end, and the backend's preStop hook waits at /drain/wait."""
        timeout = aiohttp.ClientTimeout(self._scale.window + ENDED)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as both:
            hook = both.create_task(_get(session, f"{guard.admin}/drain/wait"))
            await asyncio.sleep(0.1)  # hooks begin together; this one must not come when the guard is gone already
            both.create_task(_exit(guard, self._scale.window + ENDED))
        assert hook.result() == 200, hook.result()


async def _get(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status


async def _exit(guard: Guard, deadline: float) -> None:
    assert await guard.terminate(deadline) == 0, guard.program.errors


async def deploy(manner: Manner, scale: Scale) -> Deploy:
    """One deploy, from beginning to end. Raises AssertionError where a party does not do its part."""
    names = [f"c{number}" for number in range(scale.clients)]
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub(names, scale.every))
        balancer = await stack.enter_async_context(Balancer())

        async def started() -> Replica:
            replica = Replica(manner, scale, hub.port)
            await stack.enter_async_context(replica.running())
            balancer.replicas.append(replica)
            async with asyncio.timeout(READY):
                await balancer.until_ready(replica)
            return replica

        old = [await started() for _ in range(REPLICAS)]
        clients = node(
            "rolling-clients.mjs",
            url=f"ws://127.0.0.1:{balancer.port}/ws",
            headers={"Origin": f"http://127.0.0.1:{balancer.port}"},
            count=scale.clients,
            every=1000 * scale.every,
        )
        await stack.enter_async_context(clients)
        await clients.event("open", OPENED)
        publishing = asyncio.create_task(hub.publish())
        await asyncio.sleep(scale.rest / 2)
        ends = await _replace(old, started, balancer, scale)
        await asyncio.sleep(scale.rest)
        publishing.cancel()
        clients.process.terminate()
        assert await clients.wait(ENDED) == 0, clients.errors
        reports = [json.loads(line) for line in clients.lines if '"client"' in line]
        assert len(reports) == scale.clients, clients.errors
        return Deploy.of(manner, scale.window, scale.grace, reports, hub.ledger, hub.published, ends)


async def _replace(
    old: Sequence[Replica], started: Callable[[], Awaitable[Replica]], balancer: Balancer, scale: Scale
) -> list[float]:
    """A new replica for each of `old`; when each of these was told to end, in seconds since the epoch."""
    ends = []
    for replica in old:
        await started()
        ends.append(time.time())
        await asyncio.gather(replica.end(balancer), asyncio.sleep(scale.window))
        balancer.replicas.remove(replica)
    return ends
