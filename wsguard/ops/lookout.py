"""A migration's look-out: whether its target can be sent anyone, and whether it has been away for too long.

Law: a target that serves is not dialled, and one that is away not all the time: to be connected to and left is a line
in many an application's log.
"""

from __future__ import annotations

from wsguard.ops.migration import Backends
from wsguard.sessions.clock import Clock

LOOK = 1.0
"""Seconds after which a backend is dialled again, unless it has accepted a handshake meanwhile."""

PATIENCE = 10.0
"""Seconds for which a migration waits for a target that is away; then it is lost."""


class Lookout:
    """On `target`, to which everyone goes, and on `source`, to which what is new can go back."""

    def __init__(self, backends: Backends, clock: Clock, source: str, target: str) -> None:
        self._backends = backends
        self._clock = clock
        self._source = source
        self._target = target
        self._try_back_at = 0.0  # monotonic, as all moments are
        self.dialled()

    def dialled(self) -> None:
        """The target has been dialled just now, and was there."""
        self._looked_at = self._clock.monotonic()
        self._problem: str | None = None  # what the latest look has found
        self.forgive()

    def forgive(self) -> None:
        """The time for which the target may be away begins anew."""
        self._away_since: float | None = None

    async def problem(self) -> str | None:
        """Why nobody is to be sent to the target now, as a sentence; None: nothing is known against it."""
        problem = self._backends.doubt(self._target) or await self._look()
        if problem is None:
            self.forgive()
        elif self._away_since is None:
            self._away_since = self._clock.monotonic()
        return problem

    async def _look(self) -> str | None:
        is_suspect = self._backends.is_unreachable(self._target)
        if self._clock.monotonic() - self._looked_at < LOOK and (self._problem or not is_suspect):
            return self._problem
        if self._backends.has_served(self._target, LOOK) and not is_suspect:
            self._problem = None
        else:
            self._problem = await self._backends.dial_problem(self._target)
        self._looked_at = self._clock.monotonic()
        return self._problem

    async def is_lost(self) -> bool:
        """Whether the target stays away for too long. What is new goes back at once, where that can be dialled."""
        backends, source, now = self._backends, self._source, self._clock.monotonic()
        if self._away_since is None or source == self._target:
            return False
        if backends.active_name != source and now >= self._try_back_at:
            self._try_back_at = now + LOOK
            if await backends.dial_problem(source) is None:
                backends.activate(source)
        return backends.active_name == source and now - self._away_since >= PATIENCE
