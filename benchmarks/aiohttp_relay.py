"""A plain aiohttp WebSocket proxy, as most write it: each message is read whole and sent anew."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import WSMsgType, web

SESSION = web.AppKey("session", aiohttp.ClientSession)
Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def pump(source: Socket, target: Socket) -> None:
    """Send on every message of `source`, then its Close."""
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
        else:
            await target.send_bytes(message.data)
    await target.close(code=source.close_code or 1000)


def relay(backend: str) -> web.Application:
    """The application that relays every path to `backend`, a `host:port`."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        front = web.WebSocketResponse(max_msg_size=0, compress=False)
        url = f"ws://{backend}{request.path_qs}"
        async with request.app[SESSION].ws_connect(url, max_msg_size=0) as back:
            await front.prepare(request)
            await asyncio.gather(pump(front, back), pump(back, front))
        return front

    async def session(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as app[SESSION]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_get("/{path:.*}", handle)
    return app


async def serve(listen: str, backend: str) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(relay(backend), access_log=None)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host, int(port), backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
