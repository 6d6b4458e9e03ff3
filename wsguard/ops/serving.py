"""How the admin port and the control socket are served."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from wsguard.ops.problem import Handler

MOST = 48
"""Connections to the admin port at once, for which `process.room_for_connections` keeps descriptors back."""

_IDLE = 15.0  # seconds a connection may say nothing, in the middle of a head as well
_LAST_ANSWERS = 1.0  # seconds for answers under way when the guard ends


def runner(app: web.Application) -> web.AppRunner:
    """A runner that forgets a request whose client left, so that no waiter's place is held by nobody.

    No access log: requests are probes, scrapes and an operator's, and what those change is logged as such.
    """
    app.on_response_prepare.append(_prepare)
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_IDLE,
        shutdown_timeout=_LAST_ANSWERS,
    )


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen on TCP; ends with the runner's `cleanup()`. Raises OSError where the address cannot be had."""
    busy: set[web.RequestHandler] = set()
    app.middlewares.insert(0, _counting(busy))
    served = runner(app)
    await served.setup()
    try:
        await _Site(served, host, port, busy).start()
    except OSError:
        await served.cleanup()
        raise
    return served


async def _prepare(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "wsguard"  # in place of the versions of Python and aiohttp
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def _counting(busy: set[web.RequestHandler]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            busy.discard(request.protocol)

    return middleware


class _Site(web.BaseSite):
    """Has MOST places. Where all are taken, the oldest connection with no request under way makes room.

    So whoever opens connections and says nothing keeps no probe out; where none is idle, the newcomer is reset.
    """

    def __init__(self, served: web.AppRunner, host: str, port: int, busy: set[web.RequestHandler]) -> None:
        super().__init__(served)
        assert served.server is not None  # it is set up
        self.server = served.server
        self._host, self._port = host, port
        self._busy = busy

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Arrival(self), self._host, self._port, backlog=self._backlog)

    def has_room(self) -> bool:
        """Whether one more may come, somebody else having left for it if need be."""
        here = [each for each in self.server.connections if each.transport and not each.transport.is_closing()]
        if len(here) < MOST:
            return True
        idle = next((each for each in here if each not in self._busy), None)
        if idle is not None and idle.transport is not None:
            idle.transport.abort()  # closed, it would stay until it has read its last answer
        return idle is not None


class _Arrival(asyncio.Protocol):
    """A connection that is not aiohttp's yet: of one that is not made aiohttp does not know."""

    def __init__(self, site: _Site) -> None:
        self._site = site

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on as what aiohttp makes for each, or end it."""
        made = cast("asyncio.Transport", transport)
        if not self._site.has_room():
            made.abort()
            return
        handler = self._site.server()
        made.set_protocol(handler)
        handler.connection_made(made)
