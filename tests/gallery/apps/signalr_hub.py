"""A stand-in for an ASP.NET Core SignalR hub: it speaks the documented wire protocol, and nothing here is Microsoft's.

POST /chat/negotiate gives a connection token, which the WebSocket brings back as `id`, unless its client skips that;
messages are JSON, each ended by 0x1E; the first one chooses the protocol. As a hub does unless it is told otherwise, it
looks at the access token once, at no Origin, and never at the clock. The one method, `Shout`, answers in capitals.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.scenarios.servers import serve_aiohttp
from tests.support.programs import NPM

_END = "\x1e"
_INVOCATION, _COMPLETION, _PING = 1, 3, 6
_LIBRARY = NPM / "node_modules/@microsoft/signalr/dist/browser/signalr.min.js"
_PAGE = "<!doctype html><title>chat</title><script src=/signalr.js></script>"


class Hub:
    """`tokens` are the access tokens that WebSockets have come with; `url` is where it listens."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.tokens: list[str | None] = []
        self._negotiated: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """The hub, and a page with the real client library."""
        return [
            web.get("/", self._page),
            web.get("/signalr.js", self._library),
            web.post("/chat/negotiate", self._negotiate),
            web.get("/chat", self._connect),
        ]

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def _library(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(_LIBRARY)

    async def _negotiate(self, request: web.Request) -> web.Response:
        if not _token(request):
            return web.Response(status=401)
        token = secrets.token_urlsafe()
        self._negotiated.add(token)
        transports = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
        return web.json_response(
            {
                "negotiateVersion": 1,
                "connectionId": token[:8],
                "connectionToken": token,
                "availableTransports": transports,
            }
        )

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if (connection := request.query.get("id")) is not None and connection not in self._negotiated:
            return web.Response(status=404)  # without one it is a client that skipped negotiation
        self.tokens.append(_token(request))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            for text in frame.data.split(_END)[:-1]:
                if (reply := _reply(json.loads(text))) is not None:
                    await socket.send_str(json.dumps(reply) + _END)
        return socket


def _token(request: web.Request) -> str | None:
    return request.headers.get("Authorization", "").partition("Bearer ")[2] or request.query.get("access_token")


def _reply(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if message.get("protocol") == "json":
        return {}  # the handshake: no error
    if message["type"] == _INVOCATION:
        said = message["arguments"][0].upper()
        return {"type": _COMPLETION, "invocationId": message["invocationId"], "result": said}
    return {"type": _PING} if message["type"] == _PING else None


@asynccontextmanager
async def signalr_hub() -> AsyncIterator[Hub]:
    """A hub in this process."""
    hub = Hub()
    async with serve_aiohttp(*hub.routes()) as url:
        hub.url = url
        yield hub
