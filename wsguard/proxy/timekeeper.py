"""Cuts connections whose time is up. One ticker for all of them: cheap at any number, and a wall clock that jumps
forward is noticed at the next tick, not when a timer set before the jump would have fired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.bounds import Bounds
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Link
from wsguard.sessions.deadlines import Deadlines

TICK = 0.25
"""Seconds between two looks at the clocks: how late a cut may come."""


class Timekeeper:
    """Holds the bounds of every live connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._watched: dict[str, tuple[Link, Bounds]] = {}
        self._wall = Deadlines()
        self._monotonic = Deadlines()
        self._hints: dict[str, Callable[[], None]] = {}
        self._hinted = Deadlines()
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._handle = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Stop ticking; nothing is cut any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def watch(self, connection_id: str, link: Link, bounds: Bounds) -> None:
        """Cut `link` when one of `bounds` is reached."""
        self._watched[connection_id] = (link, bounds)
        if bounds.expires_at is not None:
            self._wall.set(connection_id, bounds.expires_at)
        self._look_again(connection_id, link, bounds)

    def remind(self, connection_id: str, when: float, hint: Callable[[], None]) -> None:
        """Call `hint` at `when`, by the wall clock, once."""
        self._hints[connection_id] = hint
        self._hinted.set(connection_id, when)

    def forget(self, connection_id: str) -> None:
        """The connection is over."""
        if self._watched.pop(connection_id, None) is not None:
            self._wall.discard(connection_id)
            self._monotonic.discard(connection_id)
        if self._hints.pop(connection_id, None) is not None:
            self._hinted.discard(connection_id)

    def check(self) -> None:
        """Cut whatever is due now."""
        for connection_id in self._wall.pop_due(self._clock.wall()):
            self._watched[connection_id][0].cut(CloseReason.SESSION_EXPIRED)
        for connection_id in self._hinted.pop_due(self._clock.wall()):
            self._hints.pop(connection_id)()
        now = self._clock.monotonic()
        for connection_id in self._monotonic.pop_due(now):
            link, bounds = self._watched[connection_id]
            reason = bounds.overdue(now, link.last_message_at)
            if reason is not None:
                link.cut(reason)
            else:
                self._look_again(connection_id, link, bounds)

    def _look_again(self, connection_id: str, link: Link, bounds: Bounds) -> None:
        when = bounds.next_look(link.last_message_at)
        if when is not None:
            self._monotonic.set(connection_id, when)

    def _tick(self) -> None:
        self._handle = self._loop.call_later(TICK, self._tick)
        self.check()
