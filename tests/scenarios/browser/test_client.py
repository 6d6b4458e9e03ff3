"""client.js in a real browser before a real guard: what it makes of refusals, ends and absences."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.browser import chromium, visit
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import ROOT
from tests.support.waiting import eventually, stays
from tests.support.wire import Head

pytestmark = pytest.mark.asyncio(loop_scope="module")

HTML = [("Content-Type", "text/html")]
PAGE = answers.reply(200, b"<!doctype html><title>app</title>", HTML)
OPEN = policy("match: {paths: [{type: PathPrefix, value: /ws}]}", "open")
LOGIN = policy(f"match: {{paths: [{{type: PathPrefix, value: /login}}]}}\n{JWT}\nsession: {{clockSkew: 0s}}", "login")
ANY_NAME = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec: {listener: {allowedHosts: [app.test]}, shutdown: {drainWindow: 0s}}
"""
DOCUMENT = ROOT / "docs/client.md"
STORY = Path(__file__).with_name("client.html")
PICTURE = ROOT / "docs/images/client.png"
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


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="module")
async def app() -> AsyncIterator[RecordingBackend]:
    async with RecordingBackend(answers.accept(echo=True), PAGE) as backend:
        yield backend


@pytest_asyncio.fixture(loop_scope="module")
async def guard(app: RecordingBackend) -> AsyncIterator[Guard]:
    async with Guard(app, {"open.yaml": OPEN, "login.yaml": LOGIN, "guard.yaml": ANY_NAME}) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, guard: Guard) -> AsyncIterator[Page]:
    opened = await visit(browser, f"http://app.test:{guard.port}/")
    yield opened
    await opened.context.close()


def logging_in(guard: Guard, page: answers.Answer, *, lives: float = 3600.0) -> answers.Answer:
    """A POST makes a session anew, all else is `page`."""

    async def respond(conversation: Conversation, head: Head) -> None:
        cookie = ("Set-Cookie", f"session={guard.issuer.token(sid='s1', lives=lives)}; Path=/")
        logged_in = answers.reply(200, b"welcome", [cookie])
        await (logged_in if head.start.startswith("POST ") else page)(conversation, head)

    return respond


def text(data: str) -> bytes:
    return wire.frame(wire.TEXT, data.encode(), masked=False)


PLAIN_USE = """async (kind) => {
  const ours = (await import("/.wsguard/client.js")).default;
  const Kind = kind === "native" ? WebSocket : ours;
  const log = [];
  const note = (...what) => log.push(what.join(" "));
  const thrown = (name, act) => {
    try { act(); note(name, "did not throw"); } catch (error) { note(name, error.name); }
  };
  thrown("a protocol twice", () => new Kind("/ws", ["a", "a"]));
  thrown("a scheme", () => new Kind("ftp://app.test/ws"));
  const socket = new Kind("/ws?room=a b", ["chat", "other"]);
  note(socket.url, socket.readyState, socket.protocol, socket.bufferedAmount, socket.binaryType);
  note(socket.OPEN, Kind.CLOSED, socket.onopen, socket instanceof EventTarget);
  socket.binaryType = "arraybuffer";
  let got = 0;
  const done = new Promise((resolve) => {
    socket.onopen = () => {
      note("open", socket.readyState, socket.protocol, socket.extensions);
      socket.send("text ä");
      socket.send(new Uint8Array([0, 1, 2, 3]).subarray(1, 3));
      socket.send(new Uint8Array([4, 5]).buffer);
      socket.send(new Blob(["blob"]));
      socket.send(17);
      thrown("close(1001)", () => socket.close(1001));
      thrown("a long reason", () => socket.close(1000, "x".repeat(124)));
    };
    socket.addEventListener("open", (event) => note("listener", event.type, event.target === socket));
    socket.onmessage = ({ data, origin, type }) => {
      note(type, origin, typeof data === "string" ? data : `${data.constructor.name} ${[...new Uint8Array(data)]}`);
      if (++got === 5) {
        socket.close(3001, "bye");
        note("closing", socket.readyState);
        socket.send("too late");
        socket.close(4000);
      }
    };
    socket.onerror = ({ type }) => note(type);
    socket.onclose = ({ type, code, reason, wasClean }) => {
      note(type, code, reason, wasClean, socket.readyState, socket.protocol);
      setTimeout(() => resolve(log), 300);
    };
  });
  return done;
}"""


async def test_it_is_used_as_a_native_one(page: Page, app: RecordingBackend) -> None:
    app.answer = answers.accept(subprotocol="chat", echo=True)
    native = await page.evaluate(PLAIN_USE, "native")
    assert len(native) == 15
    assert await page.evaluate(PLAIN_USE, "ours") == native


async def test_close_before_it_is_open_is_as_of_a_native_one(page: Page, app: RecordingBackend) -> None:
    app.answer = answers.silence()
    script = """async (kind) => {
      const Kind = kind === "native" ? WebSocket : (await import("/.wsguard/client.js")).default;
      const socket = new Kind("/ws");
      const seen = [];
      for (const type of ["open", "error", "close"])
        socket.addEventListener(type, ({ type, code, wasClean }) => seen.push([type, code, wasClean]));
      socket.close(1000, "never mind");
      seen.push(socket.readyState);
      await new Promise((done) => socket.addEventListener("close", done));
      return [...seen, socket.readyState];
    }"""
    native = await page.evaluate(script, "native")
    assert native[-2] == ["close", 1006, False]
    assert await page.evaluate(script, "ours") == native


@pytest.mark.parametrize(
    ("path", "status", "code", "reason"),
    [
        ("/nowhere", 0, 4404, "no-policy"),
        ("/login", 0, 4401, "credential-missing"),
        ("/ws", 403, 4403, "backend-refused"),
        ("/ws", 302, 4401, "backend-refused"),
    ],
)
async def test_a_final_refusal_is_the_end(
    page: Page, guard: Guard, app: RecordingBackend, path: str, status: int, code: int, reason: str
) -> None:
    if status:
        app.answer = answers.reply(status, b"no", [("Location", "/login")])
    client = await Client.make(page, path, firstDelay=10)
    closed = await client.event("close")
    assert (closed["code"], closed["reason"]) == (code, reason)
    await asyncio.sleep(0.5)  # ample, where waits are of 10 ms
    assert await guard.metric("wsguard_handshakes_total") == 1
    assert [event["type"] for event in await client.seen()][-1] == "close"
    assert not await client.seen("open")
    assert await client.state() == 3


async def test_refusals_after_an_open_make_it_wait_longer_and_longer(page: Page, guard: Guard) -> None:
    client = await Client.make(page, "/login", firstDelay=100, logIn="/no-help")
    await client.event("log in", 6)
    times = [event["at"] for event in await client.seen("log in")]
    waits = [later - earlier for earlier, later in pairwise(times)]
    for wait, least in zip(waits[1:], (200, 400, 800, 1600), strict=True):
        assert wait >= least, waits
    assert await guard.metric("wsguard_handshakes_total") in (6, 7)
    assert not await client.seen("open")


async def test_it_returns_when_the_guard_says_so(page: Page, guard: Guard, app: RecordingBackend) -> None:
    client = await Client.make(page, firstDelay=1)
    await client.event("open")
    await guard.ask("POST", "/v1/drain", {"window": "0s"})
    away = await client.event("away")
    assert (away["code"], away["advice"]) == (1012, "reconnect after retry-after")
    assert away["reason"] == f"draining retry-after={away['delay'] / 1000:g}"
    again = await client.event("away", 2)  # it came back, and the drain is not over
    assert again["at"] - away["at"] >= away["delay"] - 1
    await guard.ask("DELETE", "/v1/drain")
    await client.event("open", 2)
    await client.send("here again")
    assert (await client.event("message"))["data"] == "here again"


async def test_the_guard_is_gone_and_comes_back(page: Page, guard: Guard) -> None:
    client = await Client.make(page, firstDelay=200, maxDelay=400)
    await client.event("open")
    guard.program.process.kill()
    await guard.program.wait()
    assert (await client.event("away"))["code"] == 1006
    for number in range(3):
        await client.send(f"sent while away {number}")
    await client.event("away", 3)
    assert await client.state() == 0
    await guard.start()
    await client.event("message", 3)
    assert [event["data"] for event in await client.seen("message")] == [f"sent while away {n}" for n in range(3)]


async def test_it_is_back_as_soon_as_the_network_is(page: Page, guard: Guard) -> None:
    client = await Client.make(page, firstDelay=100_000, maxDelay=100_000)
    await client.event("open")
    await page.context.set_offline(True)
    guard.program.process.kill()  # an emulated absence leaves open sockets alone
    await guard.program.wait()
    assert (await client.event("away"))["delay"] == 100_000
    await guard.start()
    await page.context.set_offline(False)
    await client.event("open", 2)


async def test_a_socket_that_was_open_through_an_absence_is_replaced(page: Page, guard: Guard) -> None:
    """It may be dead without anybody's having noticed."""
    client = await Client.make(page, firstDelay=100)
    await client.event("open")
    await page.evaluate("() => dispatchEvent(new Event('online'))")
    await client.event("open", 2)
    assert not await client.seen("away")


async def test_the_session_expires_and_the_user_logs_in(browser: Browser, guard: Guard, app: RecordingBackend) -> None:
    app.respond = logging_in(guard, PAGE)
    page = await visit(browser, f"http://app.test:{guard.port}/", {"session": guard.issuer.token(lives=3)})
    client = await Client.make(page, "/login", logIn="/log-me-in")
    await client.event("open")
    away = await client.event("away")
    assert (away["code"], away["reason"], away["advice"]) == (4440, "session-expired", "log in")
    await client.event("open", 2)
    await client.send("hello again")
    assert (await client.event("message"))["data"] == "hello again"
    assert len(await client.seen("log in")) == 1


async def test_it_makes_before_it_breaks(page: Page, guard: Guard, app: RecordingBackend) -> None:
    app.answer = answers.accept()
    client = await Client.make(page, firstDelay=100, numbered=True)
    await client.event("open")
    old = await app.conversation(-1)
    await old.send(text(HINT))
    await client.event("open", 2)
    assert len(await guard.connections()) == 2  # the old one is still open when the new one fires open
    new = await app.conversation(-1)
    for conversation, number in ((old, 1), (new, 1), (new, 2), (old, 2), (old, 3)):
        await conversation.send(text(f'{{"id":{number}}}'))
    await client.event("message", 3)
    await client.send("to the new one")
    assert (await new.frame()).payload == b"to the new one"
    await old.send(wire.close_frame(1012, "migrating", masked=False))
    assert (await old.frame()).opcode == wire.CLOSE
    old.close()
    await eventually(lambda: _count(guard, 1), what="one connection")
    assert [event["data"] for event in await client.seen("message")] == [f'{{"id":{n}}}' for n in (1, 2, 3)]
    assert not await client.seen("away")
    assert await client.state() == 1


async def _count(guard: Guard, number: int) -> bool:
    return len(await guard.connections()) == number


async def test_a_hidden_page_that_was_idle_stays_away_until_it_is_shown(page: Page, app: RecordingBackend) -> None:
    app.answer = answers.accept()
    await page.evaluate(
        "() => Object.defineProperty(document, 'visibilityState', {get: () => window.shown ?? 'hidden'})"
    )
    client = await Client.make(page, firstDelay=1)
    await client.event("open")
    conversation = await app.conversation(-1)
    await conversation.send(wire.close_frame(4408, "idle-timeout", masked=False))
    conversation.close()
    away = await client.event("away")
    assert (away["advice"], away["delay"]) == ("reconnect when needed", float("inf"))
    await stays(lambda: len(app.upgrades) == 1, 0.5)
    await page.evaluate("() => { window.shown = 'visible'; document.dispatchEvent(new Event('visibilitychange')); }")
    await client.event("open", 2)


async def test_it_fetches_a_handshake_token_for_each_connection(browser: Browser, app: RecordingBackend) -> None:
    spec = f"origin: {{handshakeToken: {{required: true, secretFile: '{{folder}}/tokens.key'}}}}\n{JWT}"
    guard = Guard(app, {"policy.yaml": policy(spec), "guard.yaml": ANY_NAME})
    guard.write("tokens.key", base64.b64encode(os.urandom(32)).decode())
    async with guard:
        page = await visit(browser, f"http://app.test:{guard.port}/", {"session": guard.issuer.token()})
        client = await Client.make(page, "/ws?a=b", handshakeToken=True, firstDelay=100)
        await client.event("open")
        assert await page.evaluate("() => window.socket.protocol") == ""
        await client.send(HINT)  # comes back, and asks for another connection
        await client.event("open", 2)
        assert [head.get("sec-websocket-protocol") for head in app.upgrades] == [None, None]
        await page.context.clear_cookies()
        await client.send(HINT)
        guard.program.process.kill()
        await guard.program.wait()
        await guard.start()
        assert (await client.event("close"))["code"] == 4401  # the token was refused with 401: nobody is logged in


async def test_it_renews_its_session_in_time(browser: Browser, guard: Guard, app: RecordingBackend) -> None:
    """A token of four seconds, renewed before each ends: the socket that was opened first lives on."""
    app.respond = logging_in(guard, PAGE, lives=4)
    page = await visit(browser, f"http://app.test:{guard.port}/", {"session": guard.issuer.token(sid="s1", lives=4)})
    client = await Client.make(page, "/login", refresh="/refresh")
    await client.event("open")
    (connection,) = await guard.connections()
    await eventually(lambda: len(_posts(app)) >= 3, 20, "three refreshes")
    assert [seen["type"] for seen in await client.seen()] == ["open"]
    assert [now["id"] for now in await guard.connections()] == [connection["id"]]
    await page.context.close()


def _posts(app: RecordingBackend) -> list[Head]:
    return [head for head in app.requests if head.start.startswith("POST ")]


async def test_the_script_in_the_documents_works(browser: Browser, guard: Guard, app: RecordingBackend) -> None:
    (example,) = re.findall(r"^```js\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    app.respond = logging_in(guard, PAGE)
    page = await visit(browser, f"http://app.test:{guard.port}/")
    frame = """
    window.shown = [];
    const show = (what) => shown.push(JSON.stringify(what));
    const logIn = () => fetch("/log-me-in", { method: "POST" });
    """
    script = example.replace('"/ws"', '"/login"')  # where nobody gets in without having logged in
    await page.add_script_tag(content=frame + script, type="module")
    await page.wait_for_function("() => shown.length > 1")
    away, echo = await page.evaluate("() => shown")
    assert away.startswith('"credential-missing: again in')
    assert echo == '{"subscribe":"news"}'
    await page.context.close()


async def test_a_page_shows_what_it_lives_through(browser: Browser, app: RecordingBackend) -> None:
    """A session that expires, one that is renewed, the lid of a laptop, the server gone, a deploy."""
    session = 'session: {clockSkew: 0s, expiryHint: {message: \'{"type":"session-expiring"}\', before: 2s}}'
    async with Guard(app, {"policy.yaml": policy(f"{JWT}\n{session}"), "guard.yaml": ANY_NAME}) as guard:
        story = answers.reply(200, STORY.read_bytes(), HTML)
        app.respond = logging_in(guard, story, lives=5)
        page = await visit(browser, f"http://app.test:{guard.port}/", {"session": guard.issuer.token(lives=4)})

        async def happens(chapter: str, *kinds: str, act: Callable[[], Awaitable[object]] | None = None) -> None:
            await page.evaluate("(text) => window.log('story', text)", chapter)
            if act is not None:
                await act()
            for kind in kinds:
                await eventually(partial(_came, page, kind, kinds.count(kind)), 25, f"{kind} in {chapter}")

        async def lid() -> None:
            await page.context.set_offline(True)
            await page.context.set_offline(False)

        async def gone() -> None:
            guard.program.process.kill()
            await guard.program.wait()
            await eventually(lambda: _came(page, "away"), 25, "away")
            await page.evaluate("() => window.socket.send('sent while away')")
            await guard.start()

        async def deploy() -> None:
            await guard.ask("POST", "/v1/drain", {"window": "0s"})
            await eventually(lambda: _came(page, "away"), 25, "away")
            await guard.ask("DELETE", "/v1/drain")

        await happens("A session that nobody renews expires, and the user logs in", "open", "away", "log", "open")
        app.respond = logging_in(guard, story)
        await happens("The next one is renewed before it expires", "renewed")
        await happens("The lid is closed and opened: network off, network on", "offline", "online", "open", act=lid)
        await happens("The server is killed, and comes back; a message is sent meanwhile", "open", "message", act=gone)
        await happens("A deploy: the guard drains, refuses for a moment, and is there again", "open", act=deploy)
        if os.environ.get("WSGUARD_PICTURES"):
            PICTURE.parent.mkdir(exist_ok=True)
            await page.screenshot(path=PICTURE, full_page=True)
        await page.context.close()


async def _came(page: Page, kind: str, count: int = 1) -> bool:
    """Whether so many rows of `kind` stand in the last chapter."""
    rows = await page.evaluate("() => [...document.querySelectorAll('tr')].map((row) => row.className.split(' ')[0])")
    chapter = rows[len(rows) - rows[::-1].index("story") :]
    return int(chapter.count(kind)) >= count
