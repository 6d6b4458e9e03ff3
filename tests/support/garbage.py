"""What a guard leaves to Python's cyclic garbage collector.

It is called seldom (`calm_the_collector`): what stays in a cycle is memory that whoever fails often holds.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually

OURS = ("wsguard", "aiohttp")


@asynccontextmanager
async def nothing_is_left() -> AsyncIterator[None]:
    """Of what the guard makes in here nothing waits for the collector, once its tasks are over.

    Whatever is to outlive the block, a House for one, must still be in a variable at its end.
    """
    before = _tasks()
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        await eventually(lambda: _tasks() <= before, what="the end of every task")
        gc.collect()
        kinds = Counter(type(each) for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    left = {kind.__qualname__: count for kind, count in kinds.items() if kind.__module__.startswith(OURS)}
    assert not left, left


def _tasks() -> set[asyncio.Task[object]]:
    """All but a backend's: it may have been told to hear nothing of an end."""
    backends = RecordingBackend.serve.__qualname__
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") != backends}
