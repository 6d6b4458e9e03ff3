"""The drain: from the trigger, over the spread closes, to the last connection's end.

Law: a draining guard is unready and stays up; only the process's own end is final.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from wsguard.ops.departures import Departures, Progress
from wsguard.ops.log import Log
from wsguard.policy.model import Shutdown
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.registry import Registry

STRAGGLERS = 5.0
"""Seconds after the window in which the last connections may end; a pod's grace period has to cover both."""


class DrainState(Enum):
    """Whether the guard takes connections (`serving`), sends them away, or has none left."""

    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"


class DrainIsFinalError(Exception):
    """The process is ending: its drain cannot be taken back."""


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """A drain at one moment. Before any, `window` (seconds) and `started_at` (since the epoch) are None."""

    state: DrainState
    window: float | None
    started_at: float | None
    progress: Progress


class Drainer:
    """Sends every registered connection away with `draining`, spread over a window.

    `send_away` is called when nobody is let in any more: those who wait at the door wait in vain. `shutdown` gives the
    settings that are in force now.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: Random,
        log: Log,
        send_away: Callable[[], None],
        shutdown: Callable[[], Shutdown],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._log = log
        self._send_away = send_away
        self._shutdown = shutdown
        self._state = DrainState.SERVING
        self._window: float | None = None
        self._started_at: float | None = None
        self._began = self._ends_at = 0.0  # on the monotonic clock: the trigger, and the end of the window
        self._ran = 0.0  # seconds that a finished drain took
        self._final = False
        self._departures = self._nobody()
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_draining(self) -> bool:
        """True from the trigger on: the guard is not ready."""
        return self._state is not DrainState.SERVING

    @property
    def refuses(self) -> bool:
        """Whether a handshake is refused: from the trigger on, or from when a newcomer has no time left."""
        if self._state is DrainState.DRAINING and self._shutdown().admit_during_drain:
            return not self._departures.has_room
        return self.is_draining

    @property
    def status(self) -> DrainStatus:
        """The drain as it stands."""
        if not self.is_draining:
            progress = Progress(remaining=len(self._registry))
        else:
            is_over = self._state is DrainState.DRAINED
            progress = self._departures.progress(self._ran if is_over else self._clock.monotonic() - self._began)
        return DrainStatus(self._state, self._window, self._started_at, progress)

    def start(self, window: float) -> None:
        """Begin to drain over `window` seconds.

        While one is under way, the remaining closes are spread anew; a finished one stays finished.
        """
        self._start(window, self._shutdown().max_closes_per_second)

    def hurry(self) -> None:
        """Send away everyone who is left at once, whatever the rate."""
        self._start(0.0, None)

    async def finish(self, window: float) -> None:
        """Drain for good, as the process ends, and wait. A drain that runs is hurried to `window`."""
        self._final = True
        if self._state is DrainState.SERVING or self._ends_at > self._clock.monotonic() + window:
            self.start(window)
        await self.wait()

    def cancel(self) -> None:
        """Take connections again; those closed stay so. Raises DrainIsFinalError once the process is ending."""
        if self._final:
            raise DrainIsFinalError
        if self._state is DrainState.SERVING:
            return
        self._stop()
        self._departures.call_off()
        self._state = DrainState.SERVING
        self._window = self._started_at = None
        self._drained.clear()
        self._log.audit("drain_cancelled", connections=len(self._registry))

    async def wait(self) -> None:
        """Return once a drain has finished; may be called before it begins."""
        await self._drained.wait()

    def _start(self, window: float, most_per_second: int | None) -> None:
        if self._state is DrainState.DRAINED:
            return
        self._stop()
        now = self._clock.monotonic()
        if self._state is DrainState.SERVING:
            self._departures, self._began = self._nobody(), now
        self._state = DrainState.DRAINING
        self._window, self._started_at, self._ends_at = window, self._clock.wall(), now + window
        self._departures.spread(window, most_per_second)
        self._log.audit("drain_started", window=window, connections=len(self._registry))
        if self.refuses:
            self._send_away()
        self._task = asyncio.create_task(self._run(), name="wsguard-drain")

    def _nobody(self) -> Departures:
        return Departures(self._registry, self._clock, self._rng, self._log, CloseReason.DRAINING)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        await self._departures.run()
        self._send_away()
        await self._departures.until(self._clock.monotonic() + STRAGGLERS)
        self._ran = self._clock.monotonic() - self._began
        self._state = DrainState.DRAINED
        self._drained.set()
        done = self.status.progress
        self._log.audit("drain_finished", connections=done.remaining, closed=done.closed, hinted=done.hinted)
