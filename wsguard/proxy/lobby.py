"""Everyone who has a 101 and no verdict yet: how many that may be, and what becomes of them in a drain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from wsguard.protocol.first_message import Failure
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.waiting import Waiting
from wsguard.tracebacks import forget_cancellation

MOST = 5_000
"""Clients that wait at once. Each holds a socket and some memory, and has proved nothing but an allowed Origin."""


class Lobby:
    """Keeps those who wait, and the tasks that judge them: the event loop itself holds tasks only weakly."""

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._waiting) >= MOST

    def enter(self, waiting: Waiting, judging: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """`judging` runs until it ends, or until the client is lost; then nobody waits any more."""
        self._waiting.add(waiting)
        waiting.task = task = asyncio.create_task(judging)
        task.add_done_callback(lambda _task: self._leave(waiting))
        task.add_done_callback(forget_cancellation)
        return task

    def _leave(self, waiting: Waiting) -> None:
        self._waiting.discard(waiting)
        waiting.task = None  # the two hold each other: nothing is to wait for the collector

    def send_away(self) -> None:
        """A drain has begun: wait for nobody's message any longer."""
        for waiting in list(self._waiting):
            waiting.conclude(Failure(CloseReason.DRAINING, "the guard began to drain"))

    async def close(self) -> None:
        """The end of the process: judge nobody any more."""
        tasks = [waiting.task for waiting in self._waiting if waiting.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
