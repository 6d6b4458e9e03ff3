"""Backends that nobody here wrote, each started on a port of its own."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.programs import Program, node


@asynccontextmanager
async def daphne() -> AsyncIterator[str]:
    """Django Channels on daphne."""
    async with _on_socket(
        "-m", "daphne", "--fd", "{fd}", "tests.scenarios.apps.channels_app:application"
    ) as url:
        yield url


@asynccontextmanager
async def uvicorn() -> AsyncIterator[str]:
    """FastAPI on uvicorn."""
    async with _on_socket("-m", "uvicorn", "--fd", "{fd}", "tests.scenarios.apps.fastapi_app:app") as url:
        yield url


@asynccontextmanager
async def npm_server(script: str, **options: object) -> AsyncIterator[tuple[str, Program]]:
    """A server of tests/npm, which says its port; its URL and the program."""
    async with node(script, json.dumps(options)) as program:
        port = (await program.event("listening"))["port"]
        yield f"http://127.0.0.1:{port}", program


@asynccontextmanager
async def _on_socket(*arguments: str) -> AsyncIterator[str]:
    """A Python server that is handed its listening socket, so that it accepts before it is even up."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        command = [word.format(fd=listener.fileno()) for word in arguments]
        async with Program(sys.executable, *command, fds=(listener.fileno(),)):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
