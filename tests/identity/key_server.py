"""A key server on a port of its own that can be slow, wrong, dead or rotated, and counts who asks."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tests.support.serving import HttpServer
from wsguard.sessions.clock import Clock

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class HandClock(Clock):
    """A clock that stands still until a test moves it."""

    at: float = 1_800_000_000.0

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - 1_799_000_000.0

    def pass_by(self, seconds: float) -> None:
        self.at += seconds


def document(body: bytes, status: int = 200, **fields: str) -> Answer:
    """Answers with `body` and these header fields, `_` for `-`."""
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in fields.items()}}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


class KeyServer(HttpServer):
    """`answer` deals with every request; `fetches` are the paths that were asked for."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1), tls)
        self.answer = answer
        self.fetches: list[str] = []

    @property
    def uri(self) -> str:
        """Where its keys are."""
        return f"{self.url}/jwks"

    def publish(self, body: bytes) -> None:
        """Answer with `body` from now on."""
        self.answer = document(body)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.fetches.append(request.path_qs)
        await self.gate.wait()
        return await self.answer(request)  # type: ignore[arg-type]
