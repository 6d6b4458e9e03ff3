"""How late the event loop is: what every connection waits in addition when one callback takes too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

INTERVAL = 0.25
"""Seconds between two samples."""


async def sample_loop_lag(observe: Callable[[float], None], interval: float = INTERVAL) -> None:
    """Until cancelled, hand to `observe` how many seconds later than asked a sleep ended.

    The process's clock is read, because uvloop's own time stands still during a callback.
    """
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(interval)
        observe(max(0.0, time.perf_counter() - asleep - interval))
