"""Many pages at once, each with a socket through a guard that notes when its Close comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import cast

OPENING = 16  # handshakes under way at a time
_REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d3NndWFyZCBiZW5jaG1hcg==\r\n"
    "Cookie: session={cookie}\r\n\r\n"
)
_CLOSE = 0x88
_GOING = bytes((_CLOSE, 0x82, 0, 0, 0, 0, 0x03, 0xE8))  # a Close with 1000, masked with zeros


class PageError(Exception):
    """A handshake was refused; the message is what came."""


class Page(asyncio.Protocol):
    """One socket. `closed_at` is when the guard's Close came, in monotonic seconds, `retry_after` what it asks for."""

    def __init__(self, port: int, cookie: str) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed_at: float | None = None
        self.retry_after = 0.0
        self._request = _REQUEST.format(port=port, cookie=cookie).encode()
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.opened.done():
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 ") or data:
                self.opened.set_exception(PageError(repr(self._head[:200])))
            else:
                self.opened.set_result(None)
        elif data[0] == _CLOSE and self.closed_at is None:
            self.closed_at = now
            _, _, seconds = data[4 : 2 + data[1]].partition(b" retry-after=")
            self.retry_after = float(seconds or 0)
            self.leave()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(PageError(f"no answer: {error}"))
        if not self.ended.done():
            self.ended.set_result(None)

    def leave(self) -> None:
        """Send a Close, which is also the answer to one."""
        assert self._transport is not None
        self._transport.write(_GOING)


async def open_page(port: int, cookie: str) -> Page:
    """A page with an open socket through the guard on `port`. Raises PageError."""
    _, page = await asyncio.get_running_loop().create_connection(lambda: Page(port, cookie), "127.0.0.1", port)
    await page.opened
    return page


async def open_pages(port: int, cookies: Sequence[str]) -> list[Page]:
    """A page for each cookie."""
    pages: list[Page] = []
    for first in range(0, len(cookies), OPENING):
        pages += await asyncio.gather(*(open_page(port, cookie) for cookie in cookies[first : first + OPENING]))
    return pages


async def leave_all(pages: Iterable[Page]) -> None:
    """Close what is still open, and wait for the end of all."""
    pages = list(pages)
    for page in pages:
        if not page.ended.done() and page.closed_at is None:
            page.leave()
    await asyncio.gather(*(page.ended for page in pages))


async def come_and_go(port: int, cookies: Sequence[str]) -> None:
    """A handshake and an end for each cookie, some at a time."""
    waiting = iter(cookies)

    async def one_after_the_other() -> None:
        for cookie in waiting:
            page = await open_page(port, cookie)
            page.leave()
            await page.ended

    await asyncio.gather(*(one_after_the_other() for _ in range(OPENING)))
