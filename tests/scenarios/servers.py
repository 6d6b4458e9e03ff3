"""Backends that nobody here wrote, each started on a port of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.support.guard import JWT, policy
from tests.support.programs import Program, node
from tests.support.serving import HttpServer

EVENTS = policy(
    "match: {paths: [{type: PathPrefix, value: /ticks}]}\n"
    f"streams: [ServerSentEvents]\nsession: {{clockSkew: 0s}}\n{JWT}".replace(
        "extractFrom: {cookies: [session]}",
        "extractFrom: {cookies: [session]}\n    claimToHeaders: [{claim: sub, header: X-User}]",
    ),
    "events",
)
"""A policy for the ticks of `uvicorn`: they are for who has a token, and told who that is."""


@asynccontextmanager
async def daphne() -> AsyncIterator[str]:
    """Django Channels on daphne."""
    async with _on_socket("-m", "daphne", "--fd", "{fd}", "tests.scenarios.apps.channels_app:application") as url:
        yield url


@asynccontextmanager
async def django_login() -> AsyncIterator[str]:
    """Django's own sessions on daphne."""
    async with _on_socket("-m", "daphne", "--fd", "{fd}", "tests.scenarios.apps.django_login:application") as url:
        yield url


@asynccontextmanager
async def uvicorn() -> AsyncIterator[str]:
    """FastAPI on uvicorn."""
    async with _on_socket("-m", "uvicorn", "--fd", "{fd}", "tests.scenarios.apps.fastapi_app:app") as url:
        yield url


@asynccontextmanager
async def websockets_echo() -> AsyncIterator[str]:
    """An echo server on `websockets`, with compression and the subprotocol `chat`."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:  # type: ignore[list-item]
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def aiohttp_echo() -> AsyncIterator[str]:
    """The same on aiohttp."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=True, protocols=["chat"], max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with serve_aiohttp(web.get("/ws", echo)) as url:
        yield url


@asynccontextmanager
async def serve_aiohttp(*routes: web.RouteDef) -> AsyncIterator[str]:
    """An aiohttp server in this process."""
    app = web.Application()
    app.add_routes(routes)
    async with HttpServer(web.AppRunner(app)) as server:
        yield server.url


@asynccontextmanager
async def npm_echo() -> AsyncIterator[str]:
    """The same on npm ws."""
    async with npm_server("ws-server.mjs") as (url, _):
        yield url


@asynccontextmanager
async def npm_server(script: str, **options: object) -> AsyncIterator[tuple[str, Program]]:
    """A server of tests/npm, which says its port; its URL and the program."""
    async with node(script, **options) as program:
        port = (await program.event("listening"))["port"]
        yield f"http://127.0.0.1:{port}", program


@asynccontextmanager
async def _on_socket(*arguments: str) -> AsyncIterator[str]:
    """A Python server that is handed its listening socket, so that it accepts before it is even up."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        command = [word.format(fd=listener.fileno()) for word in arguments]
        async with Program(sys.executable, *command, fds=(listener.fileno(),)):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
