"""The end of tasks that wait in libraries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wsguard.events.source import FAREWELL

AGAIN = 2 * FAREWELL
"""Seconds after which a task that goes on all the same is cancelled again; one that takes its leave has done so."""


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel `tasks` until they are done: `asyncio.wait_for` of Python 3.11 may lose a cancellation, and the libraries
    of the engines wait by it."""
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
