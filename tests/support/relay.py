"""A TCP relay that misbehaves on demand: it delays, stalls in the middle of a frame, swallows, and resets."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from tests.support.serving import TcpServer


class FaultyRelay(TcpServer):
    """Stands between two programs: connect to `port` and it dials `target`.

    `delay` seconds are added to every chunk. `stall_after` lets so many more bytes pass towards the
    target and towards the client each, then holds the rest until `release()`. Nothing is lost unless
    `reset()` or `swallow()` is called.
    """

    def __init__(self, target: int, *, delay: float = 0.0, stall_after: int | None = None) -> None:
        super().__init__()
        self.target = target
        self.delay = delay
        self._allowance = {"up": stall_after, "down": stall_after}
        self._open = asyncio.Event()
        if stall_after is None:
            self._open.set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._is_swallowing = False

    def stall(self, *, up: int | None = None, down: int | None = None) -> None:
        """From now on let only so many bytes pass in the given directions (None: all)."""
        self._allowance = {"up": up, "down": down}
        self._open.clear()

    def swallow(self) -> None:
        """Lose every byte without a word, as a path that forgot its connections does.

        Connections that are open now, or opened before `release()`, stay silent for ever; neither side hears an end.
        """
        self._silent.update(self.writers)
        self._is_swallowing = True

    def release(self) -> None:
        """Let everything pass again, what was held included; what was swallowed is lost."""
        self._is_swallowing = False
        self._allowance = {"up": None, "down": None}
        self._open.set()

    def reset(self) -> None:
        """End every connection on both sides with an RST."""
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:  # nobody is there: the client hears of an end, as it would without a relay
            writer.close()
            return
        self.writers |= {writer, upstream_writer}
        if self._is_swallowing:
            self._silent.update((writer, upstream_writer))
        self.tasks |= {
            asyncio.create_task(self._pump(reader, upstream_writer, "up")),
            asyncio.create_task(self._pump(upstream_reader, writer, "down")),
        }

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if writer not in self._silent:
                    await self._pass(data, writer, way)
            if writer not in self._silent and writer.can_write_eof():
                writer.write_eof()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, way: str) -> None:
        allowance = self._allowance[way]
        if allowance is not None:
            now, data = data[:allowance], data[allowance:]
            self._allowance[way] = allowance - len(now)
            writer.write(now)
            await writer.drain()
            if not data:
                return
            await self._open.wait()
        writer.write(data)
        await writer.drain()
