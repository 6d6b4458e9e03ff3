"""A `GuardedWebSocket` of a page, and the application and policies that it is tried with."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually
from tests.support.wire import Head

OPEN = policy("match: {paths: [{type: PathPrefix, value: /ws}]}", "open")
LOGIN = policy(f"match: {{paths: [{{type: PathPrefix, value: /login}}]}}\n{JWT}\nsession: {{clockSkew: 0s}}", "login")
ANY_NAME = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec: {listener: {allowedHosts: [app.test]}, shutdown: {drainWindow: 0s}}
"""
HINT = '{"type":"reconnect"}'

MAKE = """async ([path, options]) => {
  const { default: GuardedWebSocket } = await import("/.wsguard/client.js");
  const seen = (window.seen = []);
  const random = () => 1;
  if (options.logIn) options.onauthrequired = async () => {
    seen.push({ type: "log in", at: performance.now() });
    await fetch(options.logIn, { method: "POST" });
  };
  if (options.refresh) options.renew = () => fetch(options.refresh, { method: "POST" });
  if (options.numbered) options.id = (data) => JSON.parse(data).id;
  const socket = (window.socket = new GuardedWebSocket(path, options.protocols ?? [], { random, ...options }));
  for (const type of ["open", "message", "error", "close", "away"])
    socket.addEventListener(type, ({ data, code, reason, advice, delay }) =>
      seen.push({ type, data, code, reason, advice, delay, at: performance.now() }));
}"""


class Client:
    """A GuardedWebSocket of a page, in which jitter draws the whole window."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def make(cls, page: Page, path: str = "/ws", **options: Any) -> Client:
        await page.evaluate(MAKE, [path, options])
        return cls(page)

    async def seen(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events so far, or those of a kind."""
        events: list[dict[str, Any]] = await self.page.evaluate("() => window.seen")
        return [event for event in events if kind in (None, event["type"])]

    async def event(self, kind: str, count: int = 1, deadline: float = 15.0) -> dict[str, Any]:
        """Wait for the `count`th event of a kind."""

        async def found() -> list[dict[str, Any]] | None:
            events = await self.seen(kind)
            return events if len(events) >= count else None

        events = await eventually(found, deadline, f"{kind} {count}")
        return dict(events[count - 1])

    async def send(self, text: str) -> None:
        await self.page.evaluate("(text) => window.socket.send(text)", text)

    async def state(self) -> int:
        state: int = await self.page.evaluate("() => window.socket.readyState")
        return state


def logging_in(guard: Guard, page: answers.Answer, *, lives: float = 3600.0) -> answers.Answer:
    """A POST makes a session anew, all else is `page`."""

    async def respond(conversation: Conversation, head: Head) -> None:
        cookie = ("Set-Cookie", f"session={guard.issuer.token(sid='s1', lives=lives)}; Path=/")
        logged_in = answers.reply(200, b"welcome", [cookie])
        await (logged_in if head.start.startswith("POST ") else page)(conversation, head)

    return respond


def text(data: str) -> bytes:
    return wire.frame(wire.TEXT, data.encode(), masked=False)
