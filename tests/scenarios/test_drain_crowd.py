"""A crowd that leaves arrives flat, at the door out and at the door in."""

from __future__ import annotations

import asyncio
import time

from benchmarks.pages import open_pages
from tests.scenarios.measures import peak
from tests.support.backend import RecordingBackend
from tests.support.guard import Guard, policy
from wsguard.ops.loop_lag import sample_loop_lag

CROWD = 2_000
WINDOW = 5.0


async def test_two_thousand_idle_connections_leave_flat(backend: RecordingBackend) -> None:
    """In no second more than twice the mean; and the guard is gone two seconds after the window."""
    quiet = """
    apiVersion: wsguard.dev/v1
    kind: GuardConfig
    spec: {shutdown: {drainWindow: 5s}, logging: {level: warning}}
    """
    async with Guard(backend, {"policy.yaml": policy(), "guard.yaml": quiet}) as guard:
        pages = await open_pages(guard.port, ["c"] * CROWD)
        lags: list[float] = []
        watching = asyncio.create_task(sample_loop_lag(lags.append, interval=0.02))
        began = time.monotonic()
        assert await guard.terminate() == 0
        took = time.monotonic() - began
        async with asyncio.timeout(10):
            await asyncio.gather(*(page.ended for page in pages))
        watching.cancel()
    still = max(lags)  # seconds in which this process saw nothing, and then all that came in them
    closes = [page.closed_at - began for page in pages if page.closed_at is not None]
    assert len(closes) == CROWD
    assert peak(closes) <= 2 * CROWD / WINDOW * (1 + still)
    assert max(closes) - min(closes) > 0.8 * WINDOW
    assert took < WINDOW + 2.0 + still
    returns = [page.closed_at + page.retry_after for page in pages if page.closed_at is not None]
    assert peak(returns) <= 2 * CROWD / (max(returns) - min(returns)) * (1 + still)
