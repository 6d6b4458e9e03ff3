"""Who dials again for the clients that are held, so that a backend which comes back is not trampled down.

While it is away one of them asks, after a pause that grows; when it is there the others follow, one, then two, then
four at once, up to MOST_DIALS. However many are held, there are no more tasks than that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from random import Random
from typing import Protocol

from wsguard.tracebacks import forget_cancellation

MOST_DIALS = 16
"""Redials under way at once."""

FIRST_PAUSE = 0.1
"""Seconds before a first redial at most, and the pause that grows."""

LONGEST_PAUSE = 2.0
"""Seconds between two redials of a backend that is away, at most."""

MOST_KEPT = 64 << 20
"""Bytes that all clients that are held may have said; beyond it none of them is read."""


class Outcome(Enum):
    """What became of one redial, as the label of the metric."""

    JOINED = "joined"  # the client has a backend again
    FAILED = "failed"  # no answer that counts; to be tried again
    REFUSED = "refused"  # an answer that ends it
    FORBIDDEN = "forbidden"  # not dialled: what the guard knows of the client by now speaks against it


class Holding(Protocol):
    """A client that is held."""

    async def redial(self) -> Outcome:
        """Try once. Cancelled where the connection ends meanwhile."""
        ...

    def fail(self, error: Exception) -> None:
        """A bug struck."""
        ...

    def read_on(self) -> None:
        """There is room again, or no more."""
        ...


class Redialer:
    """Holds all of them. `count` is told how many there are, whenever that changes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random, count: Callable[[int], None]) -> None:
        self._loop = loop
        self._rng = rng
        self._count = count
        self._held: dict[Holding, None] = {}
        self._waiting: deque[Holding] = deque()
        self._dialling: dict[Holding, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._width = 1
        self._failures = 0
        self._kept = 0

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    @property
    def kept(self) -> int:
        """Bytes that they have said."""
        return self._kept

    @property
    def is_full(self) -> bool:
        """Whether none of them is to be read."""
        return self._kept >= MOST_KEPT

    def keep(self, size: int) -> None:
        """So many bytes more, or less; of that everyone is told where it makes a difference."""
        was_full = self.is_full
        self._kept += size
        if self.is_full is not was_full:
            for held in list(self._held):
                held.read_on()

    def enter(self, held: Holding) -> None:
        """A client is held."""
        self._held[held] = None
        self._count(len(self._held))

    def ask(self, held: Holding, losses: int = 0) -> None:
        """Dial for it. `losses` of its backends did not last: it is to wait, and nobody else for its sake."""
        if losses:
            self._loop.call_later(self._pause_after(losses), self._ask, held)
        else:
            self._ask(held)

    def leave(self, held: Holding) -> None:
        """It is held no more."""
        if held not in self._held:
            return
        del self._held[held]
        self._count(len(self._held))
        task = self._dialling.get(held)
        if task is not None and task is not asyncio.current_task(self._loop):
            task.cancel()

    async def close(self) -> None:
        """Dial no more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._dialling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, held: Holding) -> None:
        self._waiting.append(held)
        if self._timer is None and not self._dialling:
            self._width = 1
            self._pause(FIRST_PAUSE * self._rng.random())
        self._pump()

    def _pump(self) -> None:
        while self._timer is None and self._waiting and len(self._dialling) < self._width:
            held = self._waiting.popleft()
            if held in self._held:
                task = self._dialling[held] = self._loop.create_task(self._redial(held))
                task.add_done_callback(partial(self._done, held))
                task.add_done_callback(forget_cancellation)

    def _done(self, held: Holding, _: asyncio.Task[None]) -> None:
        del self._dialling[held]
        self._pump()

    async def _redial(self, held: Holding) -> None:
        try:
            outcome = await held.redial()
        except Exception as error:  # of a task that nobody awaits nobody else would tell
            held.fail(error)
            return
        if outcome is Outcome.JOINED:
            self._failures = 0
            self._width = min(2 * self._width, MOST_DIALS)
        elif outcome is Outcome.FAILED:
            if held in self._held:
                self._waiting.append(held)
            self._fall_back()

    def _fall_back(self) -> None:
        """The backend is away, or not yet itself: let one ask, after a while."""
        self._width = 1
        if self._timer is None:
            self._failures += 1
            self._pause(self._pause_after(self._failures))

    def _pause_after(self, failures: int) -> float:
        longest = min(FIRST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE)
        return longest * self._rng.uniform(0.5, 1.0)

    def _pause(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._pump()
