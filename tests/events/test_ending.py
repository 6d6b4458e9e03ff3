"""A guard ends though a library, or an awkward moment, has lost the cancellation."""

from __future__ import annotations

import asyncio

import pytest

from tests.events.fakes import FakeStream, Replica
from tests.support.waiting import eventually
from wsguard.events import ending
from wsguard.events.outbox import Outbox
from wsguard.events.source import Batch


class Deaf(FakeStream):
    """Reads and appends through a library that loses the first cancellation of each."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = 0

    async def read(self) -> Batch:
        await self._wait(1)
        return await super().read()

    async def append(self, document: bytes) -> None:
        await self._wait(2)
        await super().append(document)

    async def _wait(self, most: int) -> None:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if self.losses >= most:
                raise
            self.losses += 1


async def test_a_lost_cancellation_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN", 0.05)
    stream = Deaf()
    replica = Replica(stream)
    replica.start()
    await eventually(lambda: stream.reads)
    replica.bus.followers[0].outbox.put(b"{}")
    await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        await replica.close()
    assert stream.losses


@pytest.mark.parametrize("turns", range(5))
async def test_an_outbox_that_is_hurried_just_then_ends_as_well(turns: int) -> None:
    stream = FakeStream()
    stream.is_away = True
    outbox = Outbox(stream, lambda _: None)
    running = asyncio.create_task(outbox.run())
    outbox.put(b"1")
    await asyncio.sleep(0.02)  # it waits until it is time to try again
    outbox.hurry()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=0.5)
    assert done
    assert running.cancelled()
