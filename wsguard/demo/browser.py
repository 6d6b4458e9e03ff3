"""As much of a browser as the story needs: a cookie jar, an Origin, and the code a closed socket leaves."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

ABNORMAL = int(aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
"""What a script reads where no Close frame came, whatever the HTTP status was (RFC 6455 §7.1.5)."""

PATIENCE = 10.0
"""Seconds a step waits for what it expects before it counts as missing."""


class Loopback(AbstractResolver):
    """Resolves every name to 127.0.0.1: browsers do so with `*.localhost` by themselves (RFC 6761 §6.3)."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """One address: this machine's."""
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a socket ended, as a script sees it: `CloseEvent.code` and `CloseEvent.reason`."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


class Tab:
    """One open WebSocket of a page."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def say(self, text: str) -> None:
        """Send one text message."""
        await self._ws.send_str(text)

    async def hear(self, wanted: str) -> str:
        """Read up to the first message that contains `wanted`; `LookupError` where the socket ends first."""
        async with asyncio.timeout(PATIENCE):
            async for message in self._ws:
                if wanted in str(message.data):
                    return str(message.data)
        raise LookupError(f"the socket ended with {self._ws.close_code} before “{wanted}” came")

    async def read(self) -> str | Ending:
        """The next message, or how the socket ended."""
        message = await self._ws.receive()
        match message.type:
            case aiohttp.WSMsgType.CLOSE:
                return Ending(message.data, message.extra or "")
            case aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED | aiohttp.WSMsgType.ERROR:
                return Ending(ABNORMAL)
        return str(message.data)

    async def ending(self) -> Ending:
        """Read on until the socket closes."""
        async with asyncio.timeout(PATIENCE):
            while not isinstance(read := await self.read(), Ending):
                pass
            return read

    async def close(self) -> None:
        """Close it from the page's side."""
        await self._ws.close()


class Browser:
    """One user's browser: its cookies go along with every request, whichever page makes it."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Loopback()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def log_in(self, site: URL, name: str, *, lifetime: float = 3600) -> None:
        """Send the login form of `site`; the cookies stay in the jar. `lifetime` is seconds."""
        form = {"name": name, "lifetime": str(lifetime)}
        async with asyncio.timeout(PATIENCE):
            async with self._session.post(site / "login", data=form) as answer:
                answer.raise_for_status()

    async def open(self, site: URL, room: str, *, page: URL | None = None) -> Tab:
        """Open the chat socket of `site` from a page of `page` (default: of `site` itself).

        Raises `aiohttp.WSServerHandshakeError` where the server answers with anything but a 101: a script
        would read `ABNORMAL` and nothing else.
        """
        origin = str((page or site).origin())
        async with asyncio.timeout(PATIENCE):
            return Tab(await self._session.ws_connect(site / "ws" / room, origin=origin, autoping=True))
