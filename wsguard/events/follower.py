"""Follows one stream for as long as the guard runs: reads back, then on, and comes back after every outage."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Protocol

from wsguard.events.ending import end
from wsguard.events.observer import Observer
from wsguard.events.outbox import Outbox
from wsguard.events.source import Entry, Stream, StreamAway
from wsguard.policy.model import OnOutage

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 1.5  # seconds; with CONNECT, less than the 5 s after which a Close is due
_LAST_CHANCE = 1.0


class Taker(Protocol):
    """Who makes something of what is read: the bus."""

    def take(self, source: str, entry: Entry, is_live: bool) -> None:
        """An entry came; `is_live`: now, and not from before the start."""
        ...

    def lose(self, source: str, why: str) -> None:
        """A part of the stream is gone for ever."""
        ...

    def look_again(self) -> None:
        """`is_needed` may have changed."""
        ...


class Follower:
    """One stream and its outbox.

    `is_up`: it answers, and was read to its end. `is_settled`: it was read back, or is away and need not be there.
    """

    def __init__(self, stream: Stream, bus: Taker, observer: Observer, on_outage: OnOutage, rng: Random) -> None:
        self.outbox = Outbox(stream, partial(observer.waiting, stream.name))
        self.is_up = False
        self.is_settled = False
        self._stream = stream
        self._bus = bus
        self._observer = observer
        self._on_outage = on_outage
        self._rng = rng
        self._is_read_back = False
        self._told: bool | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_needed(self) -> bool:
        """Whether handshakes must wait for it."""
        return not self.is_settled or (self._on_outage is OnOutage.REFUSE_NEW and not self.is_up)

    def start(self) -> None:
        """Begin, on the running loop."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self.outbox.run())]

    async def close(self) -> None:
        """End; what still waits to be stored gets a last chance."""
        await end(self._tasks)
        if lost := await self.outbox.flush(_LAST_CHANCE):
            self._observer.lost(self._stream.name, lost)
        await self._stream.close()

    async def _run(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                await self._read()
                delay = _FIRST_DELAY
                continue
            except StreamAway as error:
                self._set_up(False, str(error))
            except Exception as error:  # a fault of the guard or of a library: the stream is as good as away
                self._observer.fault("reading session events", error)
                self._set_up(False, type(error).__name__)
            self._settle(self._on_outage is OnOutage.CONTINUE)
            await asyncio.sleep(delay * self._rng.uniform(0.5, 1.0))
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _read(self) -> None:
        batch = await self._stream.read()
        for entry in batch.entries:
            self._bus.take(self._stream.name, entry, is_live=self._is_read_back)
        if batch.gap is not None:
            self._bus.lose(self._stream.name, batch.gap)
        if batch.is_latest:
            self._is_read_back = True
            self._set_up(True, "")
            self._settle(True)

    def _set_up(self, is_up: bool, why: str) -> None:
        self.is_up = is_up
        if is_up is not self._told:
            self._told = is_up
            if is_up:
                self.outbox.hurry()
            self._observer.source_up(self._stream.name, is_up, why)
            self._bus.look_again()

    def _settle(self, is_settled: bool) -> None:
        if is_settled and not self.is_settled:
            self.is_settled = True
            self._bus.look_again()
