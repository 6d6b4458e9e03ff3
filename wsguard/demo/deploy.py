"""A deploy, told in the terminal: replicas of version 1 become replicas of version 2 under clients that count.

A replica is the application and a guard of its own before it; the clients reach them by a balancer. One after another
the old ones go as they do in Kubernetes: the new one is ready, the balancer hears that the old one ends, its guard gets
SIGTERM and drains, and then its application ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from wsguard.demo.balancer import Balancer
from wsguard.demo.browser import Browser
from wsguard.demo.guard import Guard, GuardError, furnish
from wsguard.demo.legacy import Chat
from wsguard.demo.stage import serve, site_at
from wsguard.demo.terminal import Terminal
from wsguard.demo.visitor import Visitor

HOST = "deploy.localhost"
REPLICAS = 2
VISITORS = 50
_CALM = 0.8  # seconds before the deploy and after it
_DRAIN_DEADLINE = 15.0


@dataclass(slots=True)
class Replica:
    """An application and its guard; an `Endpoint` of the balancer. `app` is closed to end the application."""

    name: str
    guard: Guard
    app: contextlib.AsyncExitStack
    is_ending: bool = False

    @property
    def port(self) -> int:
        """Where its guard listens."""
        return self.guard.port

    @property
    def probes(self) -> Sequence[str]:
        """Its guard's readiness."""
        return (self.guard.readyz,)


@dataclass(slots=True)
class Site:
    """What is deployed to. Replicas share the signing key and the sessions, as they would by a database."""

    balancer: Balancer
    folder: Path
    closing: contextlib.AsyncExitStack
    signing_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    users: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> URL:
        """The address that clients know."""
        return site_at(HOST, self.balancer.port)

    async def start(self, version: int, number: int) -> Replica:
        """A replica that the balancer knows and finds ready. Raises `GuardError`."""
        chat = Chat(self.signing_key, users=self.users, greeting=f"Welcome to version {version}")
        app = await self.closing.enter_async_context(contextlib.AsyncExitStack())
        port = await app.enter_async_context(serve(chat.application(), 0))
        folder = self.folder / f"{version}-{number}"
        folder.mkdir()
        furnish(folder, self.signing_key)
        guard = await Guard.start(folder, backend=port, port=0, admin=0)
        self.closing.push_async_callback(guard.end)
        replica = Replica(f"version {version}, replica {number}", guard, app)
        self.balancer.replicas.append(replica)
        await self.balancer.until_ready(replica)
        return replica

    async def end(self, replica: Replica) -> int:
        """The guard's exit status, once guard and application have ended. Raises `GuardError`."""
        replica.is_ending = True
        await self.balancer.until_gone(replica)  # in Kubernetes `wsguard drain --after` leaves time for it
        status = await replica.guard.drain(_DRAIN_DEADLINE)
        await replica.app.aclose()
        self.balancer.replicas.remove(replica)
        return status


async def play(terminal: Terminal, port: int) -> int:
    """The deploy; 0 where nobody lost anything, else 1. `port` is the balancer's, 0: any.

    Raises `GuardError`, or `OSError` where the port is taken.
    """
    async with contextlib.AsyncExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="wsguard-demo-")))
        site = Site(await closing.enter_async_context(Balancer(port)), folder, closing)
        old = [await site.start(1, number) for number in range(1, REPLICAS + 1)]
        terminal.line(f"{REPLICAS} replicas of version 1 are ready behind {site.url}")
        visitors = [
            Visitor(f"client{number}", site.url, await closing.enter_async_context(Browser()))
            for number in range(1, VISITORS + 1)
        ]
        async with _speaking(visitors):
            terminal.line(f"{VISITORS} clients say numbers, and hear them again")
            await asyncio.sleep(_CALM)
            statuses = [await _replace(site, replica, terminal, number) for number, replica in enumerate(old, 1)]
            await asyncio.sleep(_CALM)
    return 1 if tell(visitors, terminal) or any(statuses) else 0


@contextlib.asynccontextmanager
async def _speaking(visitors: Sequence[Visitor]) -> AsyncIterator[None]:
    """Everyone is in and speaks; in the end they fall silent first, and hear what is under way."""
    speaking: list[asyncio.Task[None]] = []
    try:
        await _enter(visitors)
        speaking += (asyncio.create_task(visitor.speak()) for visitor in visitors)
        yield
        for task in speaking:
            task.cancel()
        await asyncio.sleep(_CALM)
    finally:
        for task in speaking:
            task.cancel()
        await asyncio.gather(*speaking, return_exceptions=True)
        await asyncio.gather(*(visitor.leave() for visitor in visitors))


async def _enter(visitors: Sequence[Visitor]) -> None:
    """Raises `GuardError`."""
    for found in await asyncio.gather(*(visitor.enter() for visitor in visitors), return_exceptions=True):
        if isinstance(found, (aiohttp.ClientError, TimeoutError)):
            raise GuardError(f"a client did not get in: {found or 'no answer'}")
        if found is not None:
            raise found


async def _replace(site: Site, old: Replica, terminal: Terminal, number: int) -> int:
    new = await site.start(2, number)
    terminal.title(f"{new.name} is ready; {old.name} gets SIGTERM")
    since = time.monotonic()
    status = await site.end(old)
    terminal.line(f"{old.name} has ended with exit status {status} after {time.monotonic() - since:.1f} s")
    return status


def tell(visitors: Sequence[Visitor], terminal: Terminal) -> bool:
    """Print what each client saw, and the sum; True where anybody noticed anything."""
    rows = [("client", "version", "said", "heard", "lost", "twice", "without a connection")]
    rows += [
        (
            visitor.name,
            " → ".join(map(_version, visitor.greetings)),
            str(visitor.sent),
            str(len(visitor.heard)),
            str(visitor.lost),
            str(visitor.twice),
            f"{visitor.gap:.1f} s",
        )
        for visitor in visitors
    ]
    terminal.title("What each of them saw")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        terminal.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    moved = sum(_version(visitor.greetings[-1]) == "2" for visitor in visitors)
    lost, twice = sum(visitor.lost for visitor in visitors), sum(visitor.twice for visitor in visitors)
    gap = max(visitor.gap for visitor in visitors)
    terminal.title(f"{moved} of {len(visitors)} clients are on version 2")
    terminal.line(f"{sum(visitor.sent for visitor in visitors)} messages: {lost} lost, {twice} came twice")
    terminal.line(f"the longest time that anybody was without a connection: {gap:.1f} s")
    return moved < len(visitors) or bool(lost or twice or gap)


def _version(greeting: str) -> str:
    found = re.search(r"version (\d+)", greeting)
    return found[1] if found else "?"
