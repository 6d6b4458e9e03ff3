"""A real browser and pages of real origins: every name under `.test` is this machine, and so is localhost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from playwright.async_api import Browser, Page, async_playwright

from tests.support.peace import steady
from tests.support.programs import need

_FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP localhost 127.0.0.1, MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
    "--disable-gpu",
    "--no-first-run",
]

_OPEN = """([url, protocols]) => {
  const seen = { opened: false, messages: [], protocol: null, code: null, reason: null, clean: null };
  const socket = new WebSocket(url, protocols);
  socket.onopen = () => { seen.opened = true; seen.protocol = socket.protocol; };
  socket.onmessage = ({ data }) => seen.messages.push(data);
  socket.onclose = ({ code, reason, wasClean }) => Object.assign(seen, { code, reason, clean: wasClean });
  const number = (window.sockets ??= []).push({ socket, seen }) - 1;
  return number;
}"""


class Closed(NamedTuple):
    """What a script learns of a socket's end."""

    code: int
    reason: str
    clean: bool
    opened: bool


class PageSocket:
    """A WebSocket that a script of `page` has opened."""

    def __init__(self, page: Page, number: int) -> None:
        self._page = page
        self._number = number

    async def send(self, text: str) -> None:
        """Send from the page."""
        await self._page.evaluate("([n, text]) => window.sockets[n].socket.send(text)", [self._number, text])

    async def send_when_open(self, text: str) -> None:
        """Wait for `open`, then send."""
        await self.opened()
        await self.send(text)

    async def message(self, index: int = 0) -> str:
        """Wait for the message with `index`."""
        await self._until(f"seen.messages.length > {index}")
        return str((await self._seen())["messages"][index])

    async def opened(self) -> str:
        """Wait for `open`; the subprotocol."""
        await self._until("seen.opened")
        return str((await self._seen())["protocol"])

    async def closed(self, deadline: float = 15.0) -> Closed:
        """Wait for `close`, and what it told the script."""
        await self._until("seen.code !== null", deadline)
        seen = await self._seen()
        return Closed(seen["code"], seen["reason"], seen["clean"], seen["opened"])

    async def _until(self, condition: str, deadline: float = 15.0) -> None:
        script = f"(n) => {{ const seen = window.sockets[n].seen; return {condition}; }}"
        await self._page.wait_for_function(script, arg=self._number, timeout=deadline * 1000, polling=20)

    async def _seen(self) -> dict[str, Any]:
        seen: dict[str, Any] = await self._page.evaluate("(n) => window.sockets[n].seen", self._number)
        return seen


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    path = need("chromium")
    async with steady(), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


async def visit(browser: Browser, url: str, cookies: Mapping[str, str] | None = None) -> Page:
    """A page at `url` in a fresh profile that holds `cookies` for that origin, and believes any certificate."""
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await put_cookies(page, url, cookies or {})
    await page.goto(url)
    return page


async def put_cookies(page: Page, url: str, cookies: Mapping[str, str]) -> None:
    """As the application at `url` does when it logs somebody in, or has refreshed the login."""
    for name, value in cookies.items():
        await page.context.add_cookies([{"name": name, "value": value, "url": url, "sameSite": "Strict"}])


async def open_socket(page: Page, url: str, protocols: Sequence[str] = ()) -> PageSocket:
    """`new WebSocket(url, protocols)` in the page."""
    return PageSocket(page, await page.evaluate(_OPEN, [url, list(protocols)]))
