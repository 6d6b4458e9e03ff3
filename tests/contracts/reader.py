"""Somebody who reads a stream."""

from __future__ import annotations

import asyncio

from wsguard.events.source import Batch, Stream, StreamAway


class Reader:
    """Reads a stream and keeps what it brings."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.documents: list[bytes] = []
        self.gaps: list[str] = []

    async def to_the_end(self) -> list[bytes]:
        """Read until there is nothing behind; what came."""
        before = len(self.documents)
        while not (await self.once()).is_latest:
            pass
        return self.documents[before:]

    async def once(self) -> Batch:
        batch = await self.stream.read()
        self.documents += [entry.document for entry in batch.entries]
        self.gaps += [batch.gap] if batch.gap is not None else []
        return batch

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(10):
            while len(self.documents) < count:
                await self.once()
        return self.documents

    async def for_seconds(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while True:
                await self.once()

    async def through_an_outage(self) -> None:
        """Read on until the engine is back."""
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.to_the_end()
                    return
                except StreamAway:
                    await asyncio.sleep(0.05)
