"""A backend of the rolling deploy: `python -m benchmarks.rollout_backend PORT HUB`.

What a client says goes to the hub; what the hub says to a client goes to every connection that the client has here.
SIGTERM closes the connections as applications do, with 1001, and ends the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict

from aiohttp import WSCloseCode, WSMsgType, web


class Backend:
    """The application."""

    def __init__(self, hub: asyncio.StreamWriter) -> None:
        self._hub = hub
        self._sockets: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)

    def application(self) -> web.Application:
        """What is served."""
        app = web.Application()
        app.add_routes([web.get("/readyz", self._ready), web.get("/ws/{name}", self._socket)])
        app.on_shutdown.append(self._close)
        return app

    async def listen(self, hub: asyncio.StreamReader) -> None:
        """Pass on what the hub says, until it ends."""
        async for line in hub:
            name, number = line.decode().split()
            text = json.dumps({"id": int(number)})
            for socket in tuple(self._sockets.get(name, ())):
                if not socket.closed:
                    await socket.send_str(text)

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        name = request.match_info["name"]
        self._sockets[name].add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._hub.write(f"{name} {json.loads(message.data)['id']}\n".encode())
        finally:
            self._sockets[name].discard(socket)
        return socket

    async def _close(self, _app: web.Application) -> None:
        sockets = [socket for group in self._sockets.values() for socket in group]
        await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in sockets), return_exceptions=True)
        await self._hub.drain()


async def application(hub: int) -> web.Application:
    """A backend that is connected to the hub on port `hub`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub)
    backend = Backend(writer)
    app = backend.application()

    async def listening(app: web.Application) -> None:
        app[_LISTENING] = asyncio.create_task(backend.listen(reader))

    app.on_startup.append(listening)
    return app


_LISTENING = web.AppKey("listening", asyncio.Task)


if __name__ == "__main__":
    web.run_app(application(int(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
