"""Holds stalled handshakes open, and opens each anew when it is ended: python -m benchmarks.flooder PORT COUNT."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import uvloop

from tests.support import wire

_AT_ONCE = 200
_STALLED = wire.upgrade()[:60]


async def _stall(port: int, opening: asyncio.Semaphore, has_opened: asyncio.Event) -> None:
    while True:
        with suppress(OSError):
            async with opening:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_STALLED)
            has_opened.set()
            await reader.read(1)
            writer.close()
        await asyncio.sleep(0.01)


async def _flood(port: int, count: int) -> None:
    opening, opened = asyncio.Semaphore(_AT_ONCE), [asyncio.Event() for _ in range(count)]
    stalling = [asyncio.create_task(_stall(port, opening, event)) for event in opened]
    for event in opened:
        await event.wait()
    print("flooding", flush=True)
    await asyncio.gather(*stalling)


if __name__ == "__main__":
    os.nice(19)  # honest clients are to wait for the guard, and not for the core that they share with this
    uvloop.run(_flood(int(sys.argv[1]), int(sys.argv[2])))
