"""A client that counts: it says numbers, hears each of them again, and heeds the hint.

This is what any client does that a deploy is to pass by: at the hint it opens its next connection, speaks there once
it has been greeted, and hears the old one until that ends. Where a connection ends without a successor, it comes back
when the close asks it to.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import suppress
from random import Random

import aiohttp
from yarl import URL

from wsguard.demo.browser import Browser, Ending, Tab
from wsguard.protocol.dialects import HEED

_EVERY = 0.25  # seconds between two numbers
_BACK_OFF = 1.0  # seconds, at most, where no close says when
_RETRY_AFTER = re.compile(r" retry-after=(\d+(?:\.\d+)?)$")


class Visitor:
    """One client of the chat at `site`, in a room of its own.

    `greetings` are the first messages of its connections, `gap` is how many seconds it was without one at the longest.
    """

    def __init__(self, name: str, site: URL, browser: Browser) -> None:
        self.name = name
        self.greetings: list[str] = []
        self.sent = 0
        self.heard: Counter[int] = Counter()
        self.gap = 0.0
        self._site, self._browser = site, browser
        self._live: Tab | None = None
        self._open: set[Tab] = set()
        self._away_since: float | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._random = Random(name)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lost(self) -> int:
        """How many numbers never came back."""
        return sum(not self.heard[number] for number in range(1, self.sent + 1))

    @property
    def twice(self) -> int:
        """How often a number came back again."""
        return sum(max(count - 1, 0) for count in self.heard.values())

    async def enter(self) -> None:
        """Log in and open the first connection. Raises `aiohttp.ClientError` or `TimeoutError`."""
        await self._browser.log_in(self._site, self.name)
        await self._connect()

    async def speak(self) -> None:
        """Say one number after another, until cancelled; while there is no connection there is nothing to say."""
        await asyncio.sleep(self._random.random() * _EVERY)
        while True:
            if self._live is not None:
                self.sent += 1
                with suppress(ConnectionError):  # then it is lost
                    await self._live.say(str(self.sent))
            await asyncio.sleep(_EVERY)

    async def leave(self) -> None:
        """Hear and do nothing more."""
        self._present(time.monotonic())
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)
        return work

    def _reconnect(self, delay: float = 0.0) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = self._spawn(asyncio.create_task(self._connect_until(delay)))

    async def _connect_until(self, delay: float) -> None:
        while True:
            await asyncio.sleep(delay)
            try:
                return await self._connect()
            except Refused as refused:
                delay = self._delay(refused.ending)
            except (aiohttp.ClientError, TimeoutError):
                delay = self._random.random() * _BACK_OFF

    async def _connect(self) -> None:
        """The next connection: it is good once it has been greeted. Raises `Refused`, where it is closed instead."""
        tab = await self._browser.open(self._site, self.name)
        greeting = await tab.read()
        if isinstance(greeting, Ending):
            raise Refused(greeting)
        self.greetings.append(greeting)
        self._open.add(tab)
        self._live = tab
        self._present(time.monotonic())
        self._spawn(asyncio.create_task(self._hear(tab)))

    async def _hear(self, tab: Tab) -> None:
        while not isinstance(said := await tab.read(), Ending):
            if said == HEED:
                self._reconnect()
            else:
                self.heard[int(said.rpartition(" ")[2])] += 1
        self._open.discard(tab)
        if self._live is tab:
            self._live = None
            self._reconnect(self._delay(said))
        if not self._open:
            self._away_since = time.monotonic()

    def _present(self, now: float) -> None:
        if self._away_since is not None:
            self.gap = max(self.gap, now - self._away_since)
            self._away_since = None

    def _delay(self, ending: Ending) -> float:
        """Seconds until the next attempt: what the close asks for, else a random time."""
        asked = _RETRY_AFTER.search(ending.reason)
        return float(asked[1]) if asked else self._random.random() * _BACK_OFF


class Refused(aiohttp.ClientError):
    """A connection was closed before it was greeted."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(str(ending))
        self.ending = ending
