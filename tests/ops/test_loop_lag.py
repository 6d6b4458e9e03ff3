from __future__ import annotations

import asyncio
import time

from tests.support.waiting import eventually
from wsguard.ops.loop_lag import sample_loop_lag


async def test_a_callback_that_takes_long_shows() -> None:
    samples: list[float] = []
    task = asyncio.create_task(sample_loop_lag(samples.append, interval=0.01))
    await eventually(lambda: len(samples) >= 3)
    assert all(sample >= 0 for sample in samples)
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - the fault that the sample is there to show
    await eventually(lambda: max(samples) > 0.1)
    task.cancel()
