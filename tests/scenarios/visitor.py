"""A user of a Django application, guarded: forms, cookies and sockets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http.cookies import SimpleCookie
from types import TracebackType

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.guard import Guard


class Visitor:
    """A browser as far as forms go: it keeps cookies, sends the Origin and Django's token."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.cookies: dict[str, str] = {}
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def __aenter__(self) -> Visitor:
        await self.submit("GET", "/")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @property
    def jar(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def submit(self, method: str, path: str, **form: str) -> int:
        headers = {"Cookie": self.jar, "Origin": self.guard.url, "X-CSRFToken": self.cookies.get("csrftoken", "")}
        url = f"{self.guard.url}{path}"
        async with self._session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer:
            for field in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(field).items():
                    self.cookies[name] = morsel.value
            self.cookies = {name: value for name, value in self.cookies.items() if value}
            return answer.status

    async def log_in(self, user: str) -> None:
        before = self.cookies["sessionid"]
        assert await self.submit("POST", "/login", user=user, password=f"{user}'s") == 302
        assert self.cookies["sessionid"] != before

    async def open(self, jar: str | None = None) -> ClientConnection:
        """A socket that the cookies open, or `jar`."""
        headers = {"Cookie": self.jar if jar is None else jar}
        url = f"{self.guard.ws}/ws"
        return await connect(url, origin=self.guard.url, additional_headers=headers, proxy=None)  # type: ignore[arg-type]


async def end(socket: ClientConnection) -> tuple[int | None, str]:
    """Read on to the Close; its code and the reason's first word."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await socket.recv()
    return socket.close_code, (socket.close_reason or "").partition(" ")[0]
