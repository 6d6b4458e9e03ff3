"""Lets replicas count together: tells the others how many places are taken here, and the census what they told.

Law: nothing waits for it. While the engine is away, and before others were heard, a replica counts for itself.
A guard hears itself on the channel; when it does not, nobody does, and the engine is as good as away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random

from wsguard.events.channel import Channel
from wsguard.events.ending import end
from wsguard.events.observer import Observer
from wsguard.events.source import PATIENCE, StreamAway
from wsguard.sessions.census import Census, Key
from wsguard.sessions.clock import Clock
from wsguard.sessions.counts import BadCounts, digest, parse, serialize
from wsguard.sessions.elsewhere import Elsewhere
from wsguard.sessions.telling import Telling

BEAT = 1.0
"""Seconds after which a replica says something, also where nothing has changed."""

INTERVAL = 0.25
"""Seconds between two batches, in which changes are gathered; with the way through the engine, how old a count is."""

MAX_HEARD = 4_000_000
"""Bytes that are looked at between two beats, a message counting for MIN_HEARD at least; what is beyond is not."""

MIN_HEARD = 1_000

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 1.5


class SharedCounts:
    """The counts of `census` on `channel`, while `is_wanted`: where a policy in force has caps."""

    def __init__(
        self,
        channel: Channel,
        census: Census,
        clock: Clock,
        observer: Observer,
        is_wanted: Callable[[], bool],
        rng: Random,
    ) -> None:
        self._channel = channel
        self._census = census
        self._clock = clock
        self._observer = observer
        self._is_wanted = is_wanted
        self._rng = rng
        self._replica = f"{rng.getrandbits(128):032x}"
        self._elsewhere = Elsewhere()
        self._telling = Telling(census, self._replica, channel.topic)
        self._news = asyncio.Event()
        self._is_talking = False
        self._heard = 0  # bytes since the last beat
        self._heard_itself_at = 0.0
        self._is_up: bool | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, on the running loop."""
        self._census.elsewhere, self._census.on_change = self._count, self._changed
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep())]

    async def close(self) -> None:
        """Take leave of the others, who then count no place of this replica any more."""
        self._census.elsewhere = self._census.on_change = None
        await end(self._tasks)
        if self._is_up:
            with suppress(StreamAway):
                await self._channel.say(serialize(self._telling.farewell()))
        await self._channel.close()

    def _count(self, key: Key) -> int:
        return self._elsewhere.count(digest(key, self._channel.topic)) if self._elsewhere.remembered else 0

    def _changed(self, keys: Iterable[Key]) -> None:
        if self._is_talking:  # else nobody would take them out again
            self._telling.change(keys)
            self._news.set()

    async def _keep(self) -> None:
        """Forget who is silent, whether or not the engine is there."""
        while True:
            await asyncio.sleep(BEAT)
            self._heard = 0
            try:
                self._elsewhere.expire(self._clock.monotonic())
            except Exception as error:  # a fault of the guard: without the others, rather than with who may be gone
                self._observer.fault("forgetting silent replicas", error)
                self._elsewhere.clear()
            self._observer.counting(self._channel.name, len(self._elsewhere), self._telling.left_out)

    async def _run(self) -> None:
        delay = _FIRST_DELAY
        while True:
            if not self._is_wanted():
                await asyncio.sleep(BEAT)
                continue
            try:
                await self._share()
                delay = _FIRST_DELAY
                continue
            except StreamAway as error:
                why = str(error)
            except Exception as error:  # a fault of the guard or of a library: the engine is as good as away
                self._observer.fault("sharing counts of connections", error)
                why = type(error).__name__
            if self._is_up:
                delay = _FIRST_DELAY
            self._set_up(False, why)
            await self._channel.close()
            await asyncio.sleep(delay * self._rng.uniform(0.5, 1.0))
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _share(self) -> None:
        """Talk and listen until nobody wants it any more. Raises StreamAway."""
        await self._channel.open()
        self._heard_itself_at = self._clock.monotonic()
        self._telling.begin()
        self._is_talking = True
        listening = asyncio.create_task(self._listen())
        try:
            await self._talk(listening)
            if self._is_up:
                await self._channel.say(serialize(self._telling.farewell()))
        finally:
            self._is_talking = False
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._channel.close()
        self._elsewhere.clear()
        self._set_up(False, "no policy in force has limits.connections")

    async def _talk(self, listening: asyncio.Task[None]) -> None:
        beat_at = self._clock.monotonic()
        while self._is_wanted():
            now = self._clock.monotonic()
            is_beat = now >= beat_at
            if is_beat:
                beat_at = now + BEAT
            self._news.clear()
            for told in self._telling.batch(is_beat=is_beat):
                await self._channel.say(serialize(told))
                self._observer.counts_told(self._channel.name, "said")
            if listening.done():
                listening.result()  # raises what has ended it
            if self._clock.monotonic() - self._heard_itself_at > PATIENCE:
                raise StreamAway("what is said is not heard")
            await asyncio.sleep(INTERVAL)
            if not self._telling.has_news:
                with suppress(TimeoutError):
                    async with asyncio.timeout(beat_at - self._clock.monotonic()):
                        await self._news.wait()

    async def _listen(self) -> None:
        while self._is_talking:  # a cancellation may be lost in a library that waits in Python 3.11's way
            document = await self._channel.hear()
            if document is None:
                continue
            self._heard += max(len(document), MIN_HEARD)
            if self._heard > MAX_HEARD:
                self._ignore("more is said than can be heard")
            else:
                self._take(document)
            await asyncio.sleep(0)  # a channel that always has something must not keep the loop

    def _take(self, document: bytes) -> None:
        try:
            told = parse(document)
        except BadCounts as error:
            self._ignore(str(error))
            return
        now = self._clock.monotonic()
        if told.replica == self._replica:
            self._heard_itself_at = now
            self._set_up(True, "")
            return
        is_new = told.replica not in self._elsewhere
        if not self._elsewhere.take(told, now):
            self._ignore("there are more replicas or counts than can be remembered")
            return
        self._observer.counts_told(self._channel.name, "heard")
        if is_new and not told.leaves:
            self._telling.start_over()

    def _ignore(self, why: str) -> None:
        self._observer.counts_told(self._channel.name, "ignored")
        self._observer.counts_ignored(self._channel.name, why)

    def _set_up(self, is_up: bool, why: str) -> None:
        if is_up is not self._is_up:
            self._is_up = is_up
            self._observer.counts_shared(self._channel.name, is_up, why)
