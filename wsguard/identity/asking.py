"""Questions to services outside: one at a time for each credential, however many wait for its answer.

Only a yes is remembered, under a digest, for as long as its answer allows and until the next log-out. A question that
nobody waits for any more is given up. What waits is bounded by those who wait: each handshake and each re-validation
has its own deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TLRUCache

from wsguard.sessions.clock import Clock

MAX_REMEMBERED = 10 << 20
"""Bytes of all answers that are remembered of a service; beyond, the least recently used ones are forgotten."""

_LEAST_SIZE = 1 << 10
"""What a small answer counts: ten thousand of them are remembered."""

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Known(Generic[A]):
    """An answer, for how many seconds it may be remembered (0: not at all), and how many bytes it had."""

    answer: A
    lasts: float
    size: int


@dataclass(frozen=True, slots=True)
class _Memory(Generic[A]):
    """`until` is on the monotonic clock."""

    answer: A
    until: float
    epoch: int
    size: int


@dataclass(slots=True)
class _Flight(Generic[A]):
    """A question under way, and how many wait for its answer."""

    task: asyncio.Task[A]
    waiting: int = 0


class Asker(Generic[A]):
    """Asks one service. `epoch` counts log-outs: what was learned, or asked, before the last one counts no more."""

    def __init__(self, clock: Clock, epoch: Callable[[], int], max_concurrent: int) -> None:
        self._epoch = epoch
        self._clock = clock
        self._slots = asyncio.Semaphore(max_concurrent)
        self._flights: dict[tuple[bytes, int], _Flight[A]] = {}
        self._remembered: TLRUCache[bytes, _Memory[A]] = TLRUCache(
            MAX_REMEMBERED,
            ttu=lambda _key, memory, _now: memory.until,
            timer=clock.monotonic,
            getsizeof=lambda memory: memory.size,
        )

    def recall(self, digest: bytes) -> A | None:
        """The remembered answer about `digest`, or None."""
        memory = self._remembered.get(digest)
        return memory.answer if memory is not None and memory.epoch == self._epoch() else None

    async def ask(self, digest: bytes, question: Callable[[], Awaitable[Known[A]]]) -> A:
        """The answer about `digest`, by asking `question` or from where that is under way already."""
        key = (digest, self._epoch())
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._fly(key, question)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)  # it belongs to all who wait: one who leaves does not end it
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    async def _fly(self, key: tuple[bytes, int], question: Callable[[], Awaitable[Known[A]]]) -> A:
        digest, epoch = key
        flight = self._flights[key]
        try:
            async with self._slots:
                known = await question()
            if known.lasts > 0 and epoch == self._epoch():
                until, size = self._clock.monotonic() + known.lasts, max(known.size, _LEAST_SIZE)
                self._remembered[digest] = _Memory(known.answer, until, epoch, size)
            else:
                self._remembered.pop(digest, None)
            return known.answer
        finally:
            self._land(key, flight)
            del flight  # it has this task, which keeps what cancels it, and that has this frame: a cycle

    def _land(self, key: tuple[bytes, int], flight: _Flight[A]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
