"""The hub behind all backends of the rolling deploy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from tests.support.serving import TcpServer

_TICK = 0.05  # seconds between two looks at who is to be told something


class Hub(TcpServer):
    """What the replicas share: it numbers messages to each client, and counts what each client's messages said.

    Every backend hears of every message, as with a publish-subscribe server; nothing is kept for whoever is away.
    """

    def __init__(self, names: Sequence[str], every: float) -> None:
        """A message to each of `names` in `every` seconds."""
        super().__init__()
        self.ledger: Counter[tuple[str, int]] = Counter()
        self.published: Counter[str] = Counter()
        self._names, self._every = names, every

    async def publish(self) -> None:
        """Speak to the clients, evenly over the time, until cancelled."""
        loop = asyncio.get_running_loop()
        began, count = loop.time(), 0
        while True:
            due = int((loop.time() - began) / self._every * len(self._names))
            lines = []
            for number in range(count, due):
                name = self._names[number % len(self._names)]
                self.published[name] += 1
                lines.append(f"{name} {self.published[name]}\n")
            count = due
            for writer in self.writers:
                writer.write("".join(lines).encode())
            await asyncio.sleep(_TICK)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.writers.add(writer)
        with suppress(ConnectionError):
            async for line in reader:
                name, number = line.decode().split()
                self.ledger[name, int(number)] += 1
        self.writers.discard(writer)
        writer.close()
