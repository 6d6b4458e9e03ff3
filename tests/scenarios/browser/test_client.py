"""client.js in a real browser before a real guard: used as a native one, and refused."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from itertools import pairwise

import pytest
from playwright.async_api import Browser, Page

from tests.scenarios.browser.guarded import ANY_NAME, HINT, Client, logging_in
from tests.scenarios.browser.stage import PAGE
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import visit
from tests.support.guard import JWT, Guard, policy
from tests.support.programs import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = ROOT / "docs/client.md"

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
    await page.wait_for_function("() => window.shown?.length > 1")
    away, echo = await page.evaluate("() => shown")
    assert away.startswith('"credential-missing: again in')
    assert echo == '{"subscribe":"news"}'
    await page.context.close()
