"""The stage: the application, the evil site and the guard between, up together and down together."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from yarl import URL

from wsguard.demo import evil
from wsguard.demo.guard import Guard, furnish
from wsguard.demo.legacy import Chat

LOBBY = "lobby"
APP_HOST = "app.localhost"
EVIL_HOST = "evil.app.localhost"
"""A sibling host: another origin, yet same-site, so that even a SameSite=Strict cookie goes along."""


class Ports(NamedTuple):
    """Where the four listeners stand, on 127.0.0.1; 0: any free port."""

    guard: int = 0
    app: int = 0
    evil: int = 0
    admin: int = 0

    @classmethod
    def in_a_row(cls, first: int) -> Ports:
        """Four from `first` on."""
        return cls(*range(first, first + 4))


@dataclass(frozen=True, slots=True)
class Stage:
    """What the story plays on: three sites and the guard."""

    unguarded: URL
    guarded: URL
    evil: URL
    guard: Guard


@contextlib.asynccontextmanager
async def stage(ports: Ports) -> AsyncIterator[Stage]:
    """Set the stage; on leaving, all is gone. Raises `GuardError`, or `OSError` where a port is taken."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsguard-demo-")))
        signing_key = secrets.token_bytes(32)
        furnish(folder, signing_key)
        app = await stack.enter_async_context(serve(Chat(signing_key).application(), ports.app))
        guard = await Guard.start(folder, backend=app, port=ports.guard, admin=ports.admin)
        stack.push_async_callback(guard.end)
        unguarded, guarded = site_at(APP_HOST, app), site_at(APP_HOST, guard.port)
        targets = {
            "straight at the application": lobby(unguarded),
            "through the guard": lobby(guarded),
        }
        evil_port = await stack.enter_async_context(serve(evil.application(targets), ports.evil))
        yield Stage(unguarded, guarded, site_at(EVIL_HOST, evil_port), guard)


@contextlib.asynccontextmanager
async def serve(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serve `app` on 127.0.0.1; gives the port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def site_at(host: str, port: int) -> URL:
    """The address of a site here."""
    return URL.build(scheme="http", host=host, port=port)


def lobby(site: URL) -> str:
    """The address of the chat's socket at `site`, as a page writes it."""
    return str(site.with_scheme("ws") / "ws" / LOBBY)
