"""What the tests of a module share: a browser, an application behind its guard, and a server for every other page."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from playwright.async_api import Browser, Page

from tests.support import backend as answers
from tests.support.backend import Answer, RecordingBackend
from tests.support.browser import chromium, visit
from tests.support.guard import Guard, policy

HTML = [("Content-Type", "text/html")]
PAGE = answers.reply(200, b"<!doctype html><title>page</title>", HTML)
APP, EVIL, SIBLING = "app.site.test", "evil.test", "evil.site.test"


@dataclass(frozen=True)
class Stage:
    """The guard is that of APP; each test has a profile of its own."""

    browser: Browser
    app: RecordingBackend
    guard: Guard
    elsewhere: RecordingBackend

    @property
    def home(self) -> str:
        """The app's own page, served through the guard."""
        return f"http://{APP}:{self.guard.port}/"

    @property
    def socket(self) -> str:
        """The app's socket, guarded."""
        return f"ws://{APP}:{self.guard.port}/ws"

    @property
    def bare(self) -> str:
        """The app's socket without the guard."""
        return f"ws://{APP}:{self.app.port}/ws"

    @property
    def tokens(self) -> str:
        """Where the guard gives handshake tokens."""
        return f"{self.home}.wsguard/handshake-token?path=/ws"

    async def visitor(self, host: str | None = None) -> Page:
        """A page of `host` (None: the app's own) in the browser of somebody who is logged in."""
        page = await visit(self.browser, self.home, {"session": self.guard.issuer.token()})
        if host is not None:
            await page.goto(f"http://{host}:{self.elsewhere.port}/")
        return page


@asynccontextmanager
async def staged(spec: str, answer: Answer) -> AsyncIterator[Stage]:
    """A guard of this spec, with a secret in `tokens.key`, and an app that gives this answer to a handshake."""
    async with (
        chromium() as browser,
        RecordingBackend(answer, PAGE) as app,
        RecordingBackend(respond=PAGE) as elsewhere,
    ):
        guard = Guard(app, policy(spec))
        guard.write("tokens.key", base64.b64encode(os.urandom(32)).decode())
        async with guard:
            yield Stage(browser, app, guard, elsewhere)
