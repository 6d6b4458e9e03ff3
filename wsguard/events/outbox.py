"""What waits to be stored in a stream, in order and bounded; an event is forgotten only once it is stored."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from wsguard.events.source import Stream, StreamAway

CAPACITY = 10_000
"""Events that may wait while the stream is away."""

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0


class OutboxFull(Exception):
    """The stream has been away for so long that no more can wait for it."""


class Outbox:
    """Appends to `stream` one after the other, and again after a failure: twice in the stream is harmless.

    `on_change` is told how many wait.
    """

    def __init__(self, stream: Stream, on_change: Callable[[int], None], capacity: int = CAPACITY) -> None:
        self._stream = stream
        self._on_change = on_change
        self._capacity = capacity
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._news = asyncio.Event()
        self._again = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, document: bytes) -> asyncio.Future[None]:
        """Let `document` be stored; the future is done once it is. Raises OutboxFull."""
        if len(self._waiting) >= self._capacity:
            raise OutboxFull
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((document, stored))
        self._on_change(len(self._waiting))
        self._news.set()
        return stored

    def hurry(self) -> None:
        """The stream is back: do not wait until it is time to try again."""
        self._again.set()

    async def run(self) -> None:
        """Store what comes, for ever."""
        delay = _FIRST_DELAY
        while True:
            self._news.clear()
            try:
                await self._store_all()
                delay = _FIRST_DELAY
                await self._news.wait()
            except StreamAway:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._again.wait()
                self._again.clear()
                delay = min(delay * 2, _LONGEST_DELAY)

    async def flush(self, patience: float) -> int:
        """Give what still waits a last chance of `patience` seconds, once `run` has ended; how many are lost."""
        with suppress(StreamAway, TimeoutError):
            async with asyncio.timeout(patience):
                await self._store_all()
        return len(self._waiting)

    async def _store_all(self) -> None:
        while self._waiting:
            document, stored = self._waiting[0]
            await self._stream.append(document)
            self._waiting.popleft()
            self._on_change(len(self._waiting))
            if not stored.done():  # who waited may have left
                stored.set_result(None)
