"""The drain: from the trigger, over the spread closes, to the last connection's end.

Law: a draining guard is unready and stays up; only the process's own end is final.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from wsguard.ops.log import Log, describe
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.drain import schedule
from wsguard.sessions.registry import Registry

STRAGGLERS = 5.0
"""Seconds after the window in which the last connections may end; a pod's grace period has to cover both."""

_STEP = 0.1  # seconds between two looks at whether everybody has left early
_AT_ONCE = 100  # cuts without letting the event loop do anything else


class DrainState(Enum):
    """Whether the guard takes connections (`serving`), sends them away, or has none left."""

    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"


class DrainIsFinalError(Exception):
    """The process is ending: its drain cannot be taken back."""


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """A drain at one moment; `window` (seconds) and `started_at` (since the epoch) are None before any."""

    state: DrainState
    window: float | None
    started_at: float | None
    remaining: int


class Drainer:
    """Cuts every registered connection with `draining`, spread over a window.

    `send_away` is called when a drain begins: those who wait at the door wait in vain.
    """

    def __init__(self, registry: Registry, clock: Clock, rng: Random, log: Log, send_away: Callable[[], None]) -> None:
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._log = log
        self._send_away = send_away
        self._state = DrainState.SERVING
        self._window: float | None = None
        self._started_at: float | None = None
        self._ends_at = 0.0  # of the window, on the monotonic clock
        self._final = False
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_draining(self) -> bool:
        """True from the trigger on: no handshake is admitted, and the guard is not ready."""
        return self._state is not DrainState.SERVING

    @property
    def status(self) -> DrainStatus:
        """The drain as it stands."""
        return DrainStatus(self._state, self._window, self._started_at, len(self._registry))

    def start(self, window: float) -> None:
        """Begin to drain over `window` seconds.

        While one is under way, the remaining closes are spread anew; a finished one stays finished.
        """
        if self._state is DrainState.DRAINED:
            return
        self._stop()
        self._state = DrainState.DRAINING
        self._window, self._started_at = window, self._clock.wall()
        self._ends_at = self._clock.monotonic() + window
        self._log.audit("drain_started", window=window, connections=len(self._registry))
        self._send_away()
        self._task = asyncio.create_task(self._run(window), name="wsguard-drain")

    async def finish(self, window: float) -> None:
        """Drain for good, as the process ends, and wait. A drain that runs is hurried to `window`."""
        self._final = True
        if self._state is DrainState.SERVING or self._ends_at > self._clock.monotonic() + window:
            self.start(window)
        await self.wait()

    def cancel(self) -> None:
        """Take connections again; those cut stay cut. Raises DrainIsFinalError once the process is ending."""
        if self._final:
            raise DrainIsFinalError
        if self._state is DrainState.SERVING:
            return
        self._stop()
        self._state = DrainState.SERVING
        self._window = self._started_at = None
        self._drained.clear()
        self._log.audit("drain_cancelled", connections=len(self._registry))

    async def wait(self) -> None:
        """Return once a drain has finished; may be called before it begins."""
        await self._drained.wait()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, window: float) -> None:
        began = self._ends_at - window
        ids = [connection.id for connection in self._registry]
        for number, (offset, connection_id) in enumerate(schedule(ids, window, self._rng), 1):
            await self._until(began + offset)
            self._cut(connection_id)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        for connection in self._registry:  # whose handshake was under way when the drain began
            self._cut(connection.id)
        await self._until(self._clock.monotonic() + STRAGGLERS)
        self._state = DrainState.DRAINED
        self._drained.set()
        self._log.audit("drain_finished", connections=len(self._registry))

    def _cut(self, connection_id: str) -> None:
        connection = self._registry.get(connection_id)
        if connection is None:
            return
        try:
            connection.link.cut(CloseReason.DRAINING)
        except Exception as error:  # one that cannot be cut must not keep the others, and the process, for ever
            self._log.event("fault", logging.ERROR, where="drain", connection_id=connection_id, **describe(error))

    async def _until(self, moment: float) -> None:
        """Return at `moment` on the monotonic clock, or as soon as no connection is left."""
        # Polled, because the registry tells nobody, and is to stay that simple for what it is asked all day.
        while len(self._registry) and (left := moment - self._clock.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _STEP))
