"""The pace at which connections are sent away: the hint first, where there is one, then the close.

Who leaves next is decided once a second, of those who are there: so whoever talks is put off until it falls silent or
the window ends, newcomers get a place, and what has fallen behind is made up for. Whoever drives this decides when to
stop; nothing here outlives its task.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from wsguard.ops.log import Log, describe
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Connection
from wsguard.sessions.drain import crowd, grace_in, schedule
from wsguard.sessions.registry import Registry

_SLICE = 1.0  # seconds after which those who are left are put into order anew
_STEP = 0.1  # seconds between two looks at whether everybody has left early
_AT_ONCE = 100  # told without letting the event loop do anything else


@dataclass(frozen=True, slots=True)
class Progress:
    """How far departures are: connections found, ended, left, and asked to reconnect before their close.

    `rate` is closes in a second on average, `eta` the seconds until the last close is due; None: that cannot be known.
    """

    total: int = 0
    closed: int = 0
    remaining: int = 0
    hinted: int = 0
    rate: float = 0.0
    eta: float | None = None


class Departures:
    """Sends everyone in a registry away for one reason, over a window; but for those at the backend `staying`."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: Random,
        log: Log,
        reason: CloseReason,
        staying: str | None = None,
    ) -> None:
        self._registry = registry
        self._staying = staying
        self._clock = clock
        # Draws by the thousand, too dear from the system, and of no use to whoever could guess them.
        self._rng = Random(rng.getrandbits(64))  # noqa: S311
        self._log = log
        self._reason = reason
        self._window, self._ends_at = 0.0, 0.0
        self._most_per_second: int | None = None
        self._grace = 0.0  # the longest, of those who are still to be told
        self._together = 1
        self._found: set[str] = set()
        self._told: set[str] = set()
        self._closes: list[tuple[float, str]] = []  # a heap: when the grace of those who were hinted ends
        self.hinted = 0

    def spread(self, window: float, most_per_second: int | None) -> None:
        """Send away those who are left over `window` seconds from now on; longer where the rate would be exceeded."""
        self._window, self._ends_at = window, self._clock.monotonic() + window
        self._most_per_second = most_per_second
        self._closes = [(min(when, self._ends_at), connection_id) for when, connection_id in self._closes]
        heapq.heapify(self._closes)

    def postpone(self, seconds: float) -> None:
        """After a pause of `seconds`: all that is still to come comes so much later, and nothing is made up for."""
        self._ends_at += seconds
        self._closes = [(when + seconds, connection_id) for when, connection_id in self._closes]

    def call_off(self) -> None:
        """Nobody else goes: those who have only been hinted stay, and count against limits as before."""
        self._registry.recall(connection_id for _, connection_id in self._closes)
        self._closes = []

    @property
    def remaining(self) -> int:
        """How many are still here."""
        return len(self._registry) - (self._registry.count_at(self._staying) if self._staying is not None else 0)

    @property
    def total(self) -> int:
        """How many there were, newcomers among them."""
        self._found.update(connection.id for connection in self._here())
        return len(self._found)

    @property
    def is_over(self) -> bool:
        """Whether the window has ended."""
        return self._clock.monotonic() >= self._ends_at

    @property
    def ends_at(self) -> float:
        """When the last close is due, on the monotonic clock."""
        waiting = len(self._waiting())
        if not waiting:
            return max((when for when, _ in self._closes), default=self._ends_at)
        return self._clock.monotonic() + self._span(waiting) + self._grace

    @property
    def has_room(self) -> bool:
        """Whether a newcomer would still be told in good time."""
        return self._clock.monotonic() < self._ends_at - self._grace

    def progress(self, seconds: float, *, is_moving: bool = True) -> Progress:
        """How far it is, after `seconds` of it; no end can be foreseen where nobody `is_moving` them."""
        total, remaining = self.total, self.remaining
        eta = max(self.ends_at - self._clock.monotonic(), 0.0) if remaining else 0.0
        return Progress(
            total,
            total - remaining,
            remaining,
            self.hinted,
            rate=(total - remaining) / max(seconds, 1.0),
            eta=eta if is_moving or not remaining else None,
        )

    async def run(self) -> None:
        """Return once everyone has been told to go, or nobody is left."""
        while self.remaining:
            self._close_due()  # what a new window, or a pause, has made overdue; `until` would not wait for it
            now, waiting = self._clock.monotonic(), self._waiting()
            if not waiting and not self._closes and now >= self._ends_at:
                return
            self._grace = max((grace_in(self._window, one.farewell.grace) for one in waiting), default=0.0)
            await self._tell_some(now, waiting)

    async def until(self, moment: float) -> None:
        """Return at `moment` on the monotonic clock, or as soon as no connection is left."""
        # Polled, because the registry tells nobody, and is to stay that simple for what it is asked all day.
        while self.remaining and (left := moment - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(left, _STEP))
            self._close_due()

    async def _tell_some(self, now: float, waiting: list[Connection]) -> None:
        """Those whose time comes within a slice."""
        self._together = crowd(self.total, self._window)
        for number, (offset, connection) in enumerate(schedule(waiting, self._span(len(waiting)), self._rng), 1):
            if offset > _SLICE:
                await self.until(now + _SLICE)
                return
            await self.until(now + offset)
            self._tell(connection)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        last = max((when for when, _ in self._closes), default=now)
        await self.until(min(now + _SLICE, max(self._ends_at, last)))

    def _waiting(self) -> list[Connection]:
        return [connection for connection in self._here() if connection.id not in self._told]

    def _here(self) -> Iterator[Connection]:
        return (connection for connection in self._registry if connection.backend != self._staying)

    def _span(self, waiting: int) -> float:
        """Seconds over which so many are told."""
        least = waiting / self._most_per_second if self._most_per_second else 0.0
        return max(self._ends_at - self._grace - self._clock.monotonic(), least, 0.0)

    def _tell(self, connection: Connection) -> None:
        self._told.add(connection.id)
        self._registry.dismiss(connection.id)
        farewell = connection.farewell
        grace = grace_in(self._window, farewell.grace)
        if not farewell.hint or not grace:
            self._close(connection.id)
            return
        self.hinted += 1
        heapq.heappush(self._closes, (self._clock.monotonic() + grace, connection.id))
        self._act(connection.id, lambda: connection.link.interject(lambda: farewell.hint))

    def _close_due(self) -> None:
        now = self._clock.monotonic()
        while self._closes and self._closes[0][0] <= now:
            self._close(heapq.heappop(self._closes)[1])

    def _close(self, connection_id: str) -> None:
        connection = self._registry.get(connection_id)
        if connection is not None:
            goodbye = connection.farewell.goodbye
            self._act(connection_id, lambda: connection.link.leave(self._reason, goodbye, self._together))

    def _act(self, connection_id: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # one that cannot be told must not keep the others, and the process, for ever
            self._log.event("fault", logging.ERROR, where="departure", connection_id=connection_id, **describe(error))
