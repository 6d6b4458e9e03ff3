"""The starters in `policies/`, each before an application of its situation; only hosts, ports and keys are replaced."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.scenarios.apps.cookie_app import CookieApp
from tests.scenarios.servers import websockets_echo
from tests.scenarios.visitor import end
from tests.support.guard import Guard
from tests.support.programs import ROOT
from tests.support.tokens import Issuer

EVIL = "https://evil.example"
FOREIGN, MISSING = (4403, "origin-denied"), (4401, "credential-missing")


def starter(name: str, host: str, backend: str, instead: Mapping[str, str], issuer: Issuer | None = None) -> Guard:
    text = (ROOT / f"policies/{name}.yaml").read_text("utf-8")
    for there, here in {f"hostnames: [{host}]": "hostnames: [127.0.0.1]", **instead}.items():
        assert there in text
        text = text.replace(there, here)
    guard = Guard(backend, text)
    if issuer is not None:
        (guard.folder / "jwks.json").write_text(issuer.jwks())
    return guard


async def come(
    guard: Guard,
    path: str,
    origin: str | None = None,
    protocols: tuple[str, ...] = ("chat",),
    fields: Mapping[str, str] | None = None,
) -> ClientConnection:
    return await connect(
        guard.ws + path,
        origin=origin,  # type: ignore[arg-type]
        subprotocols=protocols,  # type: ignore[arg-type]
        additional_headers=fields,
    )


async def echoes(socket: ClientConnection) -> bool:
    async with socket:
        await socket.send("hello")
        return await socket.recv() == "hello"


async def test_a_cookie_application_without_an_identity_provider() -> None:
    async with CookieApp() as app:
        instead = {"http://127.0.0.1:3000": app.url}
        async with starter("cookie-app-without-identity-provider", "legacy.example.com", app.url, instead) as guard:
            app.sessions["of-ann"] = "ann"
            socket = await come(guard, "/ws", guard.url, fields={"Cookie": "sid=of-ann"})
            assert await socket.recv() == "hello ann"
            assert await end(await come(guard, "/ws", EVIL, fields={"Cookie": "sid=of-ann"})) == FOREIGN
            assert await end(await come(guard, "/ws", guard.url)) == MISSING
            async with aiohttp.ClientSession(cookies={"sid": "of-ann"}) as browser:
                await browser.post(f"{guard.url}/logout", allow_redirects=False)
            assert await end(socket) == (4441, "logged-out")


async def test_a_single_page_application_with_an_access_token() -> None:
    issuer = Issuer.of("ES256", issuer="https://idp.example.com")
    keys = {
        'remoteJWKS: {uri: "https://idp.example.com/jwks", cacheDuration: 5m}': "localJWKS: {file: {folder}/jwks.json}"
    }
    page = "https://spa.example.com"
    async with websockets_echo() as url, starter("oidc-spa", "api.example.com", url, keys, issuer) as guard:
        token = issuer.token(aud="live", scope="live.read")
        socket = await come(guard, "/live", page, ("chat", f"bearer.{token}"))
        assert socket.subprotocol == "chat"
        assert await echoes(socket)
        assert await end(await come(guard, "/live", EVIL, ("chat", f"bearer.{token}"))) == FOREIGN
        assert await end(await come(guard, "/live", page)) == MISSING
        writer = issuer.token(aud="live", scope="live.write")
        assert await end(await come(guard, "/live", page, ("chat", f"bearer.{writer}"))) == (4403, "not-authorized")


async def test_a_mobile_app_and_a_browser() -> None:
    issuer = Issuer.of("ES256", issuer="https://login.example.com")
    keys = {'remoteJWKS: {uri: "https://login.example.com/jwks"}': "localJWKS: {file: {folder}/jwks.json}"}
    async with websockets_echo() as url, starter("mobile-and-browser", "chat.example.com", url, keys, issuer) as guard:
        browser = {"Cookie": f"session={issuer.token(aud='chat-web')}"}
        mobile = {"Authorization": f"Bearer {issuer.token(aud='chat-mobile')}"}
        assert await echoes(await come(guard, "/ws", guard.url, fields=browser))
        assert await echoes(await come(guard, "/ws", fields=mobile))
        assert await end(await come(guard, "/ws", fields=browser)) == FOREIGN
        assert await end(await come(guard, "/ws", EVIL, fields=browser)) == FOREIGN
        assert await end(await come(guard, "/ws")) == MISSING


@pytest.mark.parametrize("origin", [EVIL, None])
async def test_a_public_read_only_feed(origin: str | None) -> None:
    async with websockets_echo() as url, starter("public-read-only-feed", "feed.example.com", url, {}) as guard:
        assert await echoes(await come(guard, "/feed", origin))
        assert await end(await come(guard, "/other", guard.url)) == (4404, "no-policy")
