"""The ways between guards and an engine, each to be broken by itself: through relays, or in a network of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.contracts.engines import Engine
from tests.scenarios.replicas import replica
from tests.scenarios.storm_plan import Fault
from tests.support.backend import RecordingBackend, accept
from tests.support.guard import Guard
from tests.support.network import Network
from tests.support.relay import FaultyRelay


class Link(Protocol):
    """The way between one guard and the engine."""

    async def fail(self, fault: Fault) -> None:
        """Break in this manner, or in one that this link knows."""
        ...

    async def mend(self) -> None:
        """Carry everything again."""
        ...


@dataclass
class RelayLink:
    """A TCP relay: silent for ever towards what was connected, or stalled, or reset."""

    relay: FaultyRelay

    async def fail(self, fault: Fault) -> None:
        match fault:
            case "silent link":
                self.relay.swallow()
            case "stalled link":
                self.relay.stall(up=0, down=0)
            case _:
                self.relay.reset()

    async def mend(self) -> None:
        self.relay.release()


@dataclass
class CableLink:
    """A virtual cable that is pulled: no packet passes, and TCP hears of nothing."""

    network: Network
    number: int

    async def fail(self, fault: Fault) -> None:
        await self.network.silence(self.number)

    async def mend(self) -> None:
        await self.network.restore(self.number)


@dataclass
class Site:
    """An engine, the guards that share it, and the link of each."""

    engine: Engine
    guards: list[Guard]
    links: list[Link]


@asynccontextmanager
async def site(
    kind: type[Engine], backend: RecordingBackend, guards: int, *, cables: bool = False, **events: Any
) -> AsyncIterator[Site]:
    """Guards over an engine of `kind`, by relays or by `cables`; `events` are more of their session events."""
    backend.answer = accept(echo=True)  # who closes is answered at once
    async with AsyncExitStack() as stack:
        links: list[Link] = []
        if cables:
            network = await stack.enter_async_context(Network(guards + 1))  # the first one is the test's own
            engine = await stack.enter_async_context(kind(network))
            links += [CableLink(network, number + 1) for number in range(guards)]
            built = [replica(backend, engine, host=network.address(number + 1), **events) for number in range(guards)]
        else:
            engine = await stack.enter_async_context(kind())
            relays = [await stack.enter_async_context(FaultyRelay(engine.port)) for _ in range(guards)]
            links += map(RelayLink, relays)
            built = [replica(backend, engine, relay.port, **events) for relay in relays]
        async with asyncio.TaskGroup() as starting:
            for guard in built:
                starting.create_task(stack.enter_async_context(guard))
        yield Site(engine, built, links)
