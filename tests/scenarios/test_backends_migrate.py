"""From blue to green and back: two real applications, pages that number their messages, and the operator's commands."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed

from tests.scenarios.measures import peak
from tests.support.client import fetch
from tests.support.guard import Guard, policy
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.waiting import eventually, stays

HINT = '{"type":"reconnect"}'
BURST = 3  # messages under way at once


class Application:
    """A colour, on a port of its own; it may be stopped and started again there."""

    def __init__(self, colour: str) -> None:
        self.colour, self.port = colour, free_port()
        self.program: Program | None = None

    async def start(self) -> None:
        """Until it listens."""
        self.program = Program(sys.executable, "-m", "tests.scenarios.apps.coloured_app", self.colour, str(self.port))
        await self.program.start()
        await self.program.line("listens")

    async def stop(self) -> None:
        """As the operator does."""
        if self.program is not None:
            await self.program.end()

    def kill(self) -> None:
        """As nobody wants it."""
        assert self.program is not None
        self.program.process.kill()


class Page:
    """Sends numbered messages in bursts, and reads the answers. On the hint it opens its next socket and goes on there.

    `got` are the numbers that were answered, `by` whose answers they were; `closes` what the sockets that it had left
    were closed with, `early` how many of them were gone before the next one was open.
    """

    def __init__(self, guard: Guard, pause: float = 0.1) -> None:
        self._guard = guard
        self._pause = pause
        self.sent = 0
        self.got: list[int] = []
        self.by: list[str] = []
        self.closes: list[tuple[int | None, str]] = []
        self.closed_at: list[float] = []
        self.early = 0
        self.failed = 0
        self.talks = True
        self._left: dict[ClientConnection, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until it is told to talk no more."""
        socket = await self._open()
        while self.talks:
            try:
                is_hinted = await self._talk(socket)
            except ConnectionClosed:
                self.failed += 1
                socket = await self._open()
                continue
            if is_hinted:
                socket = await self._move_on(socket)
            await asyncio.sleep(self._pause)
        for each in (socket, *self._left):  # whom an abort has spared is never closed by the guard
            await each.close()
        await asyncio.gather(*self._left.values())

    async def _open(self) -> ClientConnection:
        while True:
            socket = await websockets_connect(f"{self._guard.ws}/ws", origin=self._guard.url)  # type: ignore[arg-type]
            try:
                await socket.send("hello")
                self.by.append(str(await socket.recv()).split()[0])
            except ConnectionClosed:  # a refusal
                await asyncio.sleep(0.2)
            else:
                return socket

    async def _talk(self, socket: ClientConnection) -> bool:
        numbers = range(self.sent, self.sent + BURST)
        self.sent += BURST
        for number in numbers:
            await socket.send(str(number))
        is_hinted = False
        for _ in numbers:
            while (said := await socket.recv()) == HINT:
                is_hinted = True
            colour, answered = str(said).split()
            self.by.append(colour)
            self.got.append(int(answered))
        return is_hinted

    async def _move_on(self, old: ClientConnection) -> ClientConnection:
        new = await self._open()
        self.early += old.close_code is not None
        self._left[old] = asyncio.create_task(self._await_close(old))
        return new

    async def _await_close(self, old: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for _ in old:
                pass
        if self.talks:
            self.closes.append((old.close_code, (old.close_reason or "").partition(" ")[0]))
            self.closed_at.append(time.monotonic())


@asynccontextmanager
async def blue_and_green() -> AsyncIterator[tuple[Guard, Application, Application]]:
    """Both run, blue first, and a guard is before them; its hint gives three seconds, or half of the window."""
    blue, green = Application("blue"), Application("green")
    config = f"""
    apiVersion: wsguard.dev/v1
    kind: GuardConfig
    spec:
      backends:
      - {{name: blue, url: "http://127.0.0.1:{blue.port}"}}
      - {{name: green, url: "http://127.0.0.1:{green.port}"}}
      logging: {{level: info}}
    """
    spec = policy(f"origin: {{missing: Allow}}\nmigration: {{hint: {{dialect: custom, message: '{HINT}', grace: 3s}}}}")
    try:
        await asyncio.gather(blue.start(), green.start())
        async with Guard("", {"guard.yaml": config, "policy.yaml": spec}) as guard:
            yield guard, blue, green
    finally:
        await asyncio.gather(blue.stop(), green.stop())


def migrate(guard: Guard, *arguments: str) -> Program:
    """The command."""
    return Program(sys.executable, "-m", "wsguard", "migrate", *arguments, "--control", guard.control)


async def counts(guard: Guard) -> dict[str, int]:
    """Connections by backend."""
    _, said = await guard.ask("GET", "/v1/migrate")
    return {one["name"]: one["connections"] for one in said["backends"]}


async def state(guard: Guard) -> Any:
    """Of the migration."""
    return (await guard.ask("GET", "/v1/migrate"))[1]["state"]


@asynccontextmanager
async def talking(guard: Guard, size: int) -> AsyncIterator[list[Page]]:
    """Pages that talk. At the end each says what it has not sent or read yet."""
    pages = [Page(guard, pause=size / 400) for _ in range(size)]
    async with asyncio.TaskGroup() as group:
        for page in pages:
            group.create_task(page.run())
        await eventually(lambda: all(page.got for page in pages), 30, "everyone talks")
        yield pages
        for page in pages:
            page.talks = False


@pytest.mark.parametrize(
    ("size", "window"),
    [(40, 3), pytest.param(500, 30, marks=pytest.mark.extended)],
    ids=["forty", "five-hundred"],
)
async def test_to_green_and_back_without_losing_a_message(size: int, window: int) -> None:
    """Everyone's next socket is open before the old one closes; blue is stopped when nobody is left there."""
    async with blue_and_green() as (guard, blue, _), talking(guard, size) as pages:
        assert await counts(guard) == {"blue": size, "green": 0}
        began = time.monotonic()
        async with migrate(guard, "--to", "green", "--window", f"{window}s", "--wait") as command:
            await command.line("moving")
            assert (await fetch(guard.port, "/page"))[1] == b"green"
            assert await command.wait(window + 15) == 0
            assert command.lines[-1] == "moved to green: blue has 0 connections"
        closes = [moment - began for page in pages for moment in page.closed_at]
        assert max(closes) - min(closes) > 0.4 * window
        # Everyone talks, and this process is busy with that; how flat it is else, test_drain_crowd.py shows.
        assert peak(closes) <= 4 * size / (max(closes) - min(closes))
        await blue.stop()
        assert await counts(guard) == {"blue": 0, "green": size}
        assert (await fetch(guard.port, "/page"))[1] == b"green"
        await blue.start()
        await guard.ask("POST", "/v1/migrate", {"to": "blue", "window": f"{window + 1}s"})
        await eventually(lambda: sum(len(page.closes) for page in pages) >= 1.3 * size, 30, "some are back")
        status, aborted = await guard.ask("DELETE", "/v1/migrate")
        assert (status, aborted["state"]) == (200, "aborted")
        await asyncio.sleep(0.3)  # for whom a message just had to end
        halfway = await counts(guard)
        assert halfway["blue"] > 0
        assert halfway["green"] > 0
        assert (await fetch(guard.port, "/page"))[1] == b"green"
        await guard.ask("POST", "/v1/migrate", {"to": "green", "window": f"{max(3, window // 3)}s"})
        await eventually(lambda: _is(guard, "migrated"), 20, "everyone is at green")
    for page in pages:
        assert page.got == list(range(page.sent)), "none lost, none twice, in order"
        assert (page.failed, page.early) == (0, 0)
        assert set(page.closes) == {(1012, "migrating")}
        assert page.by[0] == "blue"
        assert page.by[-1] == "green"
    reasons = Counter(line["reason"] for line in guard.logs if line["event"] == "connection_closed")
    assert set(reasons) <= {"migrating", "client-closed"}


async def _is(guard: Guard, wanted: str) -> bool:
    return bool(await state(guard) == wanted)


async def test_nobody_is_sent_to_an_application_that_has_died() -> None:
    """Not at the start, not in the middle; what is new finds one that lives, and it goes on when it is back."""
    async with blue_and_green() as (guard, _, green):
        await green.stop()
        status, problem = await guard.ask("POST", "/v1/migrate", {"to": "green"})
        assert status == 409
        assert "green cannot be dialled" in problem["detail"]
        await green.start()
        pages = [Page(guard) for _ in range(20)]
        async with asyncio.TaskGroup() as group:
            for page in pages:
                group.create_task(page.run())
            await eventually(lambda: all(page.got for page in pages), 20)
            await guard.ask("POST", "/v1/migrate", {"to": "green", "window": "4s"})
            await eventually(lambda: any(page.closes for page in pages))
            green.kill()
            await eventually(lambda: _is(guard, "paused"), what="it pauses")
            await asyncio.sleep(0.5)  # for whom a message just had to end
            moved = sum(len(page.closes) for page in pages)
            held, hinted = (await counts(guard))["blue"], (await guard.ask("GET", "/v1/migrate"))[1]["hinted"]
            await stays(lambda: sum(len(page.closes) for page in pages) == moved, 1.0)
            await eventually(lambda: _all_at_blue(guard, len(pages)), what="whom green has lost is back at blue")
            assert held > 0
            await green.start()
            await guard.log({"event": "migration_resumed"})
            await eventually(lambda: _is(guard, "migrated"), 20)
            for page in pages:
                page.talks = False
        for page in pages:
            assert not set(page.closes) - {(1012, "migrating"), (1014, "backend-lost"), (None, "")}, page.closes
            assert sorted(set(page.got)) == page.got, "no answer twice"
        assert sum(page.failed for page in pages) <= hinted, "whom the kill struck, and nobody else"


async def _all_at_blue(guard: Guard, size: int) -> bool:
    return (await counts(guard))["blue"] >= size
