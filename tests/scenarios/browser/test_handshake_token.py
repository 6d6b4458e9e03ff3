"""A page of the application fetches a token and opens its socket; no page of another origin can get one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.scenarios.browser.stage import APP, EVIL, SIBLING, Stage, staged
from tests.support import backend as answers
from tests.support.browser import open_socket
from tests.support.guard import JWT

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEC = f"""
match: {{hostnames: [{APP}]}}
origin: {{allowOrigins: ["*"], handshakeToken: {{required: true, secretFile: '{{folder}}/tokens.key'}}}}
{JWT}"""
"""Any origin, so that the token is all that stands between a foreign page and the visitor's session."""

FETCH = """async ([url, mode]) => {
  const answer = await fetch(url, { method: "POST", credentials: "include", mode });
  return { type: answer.type, status: answer.status, text: await answer.text() };
}"""
TOKEN = """async (url) => (await (await fetch(url, { method: "POST" })).json()).token"""
POLICIES = Path(__file__).parents[3] / "docs/policies.md"
INVALID = (4403, "handshake-token-invalid", True, True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged(SPEC, answers.accept(echo=True)) as made:
        yield made


@pytest.mark.parametrize("way", ["query", "subprotocol", "subprotocol beside another"])
async def test_a_page_of_the_app_opens_its_socket_with_a_token(stage: Stage, way: str) -> None:
    page = await stage.visitor()
    token = await page.evaluate(TOKEN, stage.tokens)
    offer = f"wsguard.token.{token}"
    if way == "query":
        socket, spoken = await open_socket(page, f"{stage.socket}?room=1&wsguard_token={token}"), ""
    elif way == "subprotocol":
        socket, spoken = await open_socket(page, stage.socket, [offer]), offer
    else:
        stage.app.answer = answers.accept(echo=True, subprotocol="chat")
        socket, spoken = await open_socket(page, stage.socket, [offer, "chat"]), "chat"
    assert await socket.opened() == spoken
    await socket.send("hello")
    assert await socket.message() == "hello"
    stage.app.answer = answers.accept(echo=True)
    asked = stage.app.upgrades[-1]
    assert asked.target == ("/ws?room=1" if way == "query" else "/ws")
    assert token not in asked.raw.decode()
    await page.context.close()


async def test_the_script_in_the_documents_works(stage: Stage) -> None:
    (example,) = re.findall(r"^```js\n(.*?)^```$", POLICIES.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    page = await stage.visitor()
    script = example.replace("wss:", "ws:")  # no TLS here
    outcome = "new Promise((done) => { socket.onopen = () => done('open'); socket.onclose = (e) => done(e.reason); })"
    assert await page.evaluate(f"async () => {{ {script}\nreturn {outcome}; }}") == "open"
    await page.context.close()


async def test_without_one_nobody_gets_in(stage: Stage) -> None:
    for host in (None, EVIL, SIBLING):
        page = await stage.visitor(host)
        before = len(stage.app.upgrades)
        assert await (await open_socket(page, stage.socket)).closed() == INVALID
        assert len(stage.app.upgrades) == before
        await page.context.close()


@pytest.mark.parametrize("host", [EVIL, SIBLING])
async def test_a_foreign_page_cannot_read_one(stage: Stage, host: str) -> None:
    """Not by CORS, and not into its own process; from the sibling the visitor's cookie is sent along."""
    page = await stage.visitor(host)
    for mode in ("cors", "no-cors"):
        with pytest.raises(Exception, match="Failed to fetch"):
            await page.evaluate(FETCH, [stage.tokens, mode])
    await page.context.close()


async def test_a_token_of_the_attackers_own_session_is_nothing_beside_the_visitors_cookie(stage: Stage) -> None:
    """He may ask from his own program, in the name of any Origin."""
    import aiohttp

    page = await stage.visitor(SIBLING)
    origin = await page.evaluate("() => location.origin")
    mine = {
        "Origin": origin,
        "Host": f"{APP}:{stage.guard.port}",
        "Cookie": f"session={stage.guard.issuer.token('eve')}",
    }
    url = f"{stage.guard.url}/.wsguard/handshake-token?path=/ws"
    async with aiohttp.ClientSession() as session, session.post(url, headers=mine) as answer:
        token = (await answer.json())["token"]
    assert await (await open_socket(page, f"{stage.socket}?wsguard_token={token}")).closed() == INVALID
    await page.context.close()
