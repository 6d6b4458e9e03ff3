"""A log-out at a real OpenID provider ends the sockets of that session, and of no other."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
import pytest

from tests.scenarios.replicas import Socket, events, verdict
from tests.support.backend import RecordingBackend
from tests.support.guard import Guard, policy
from tests.support.ports import free_port
from tests.support.programs import node

REDIRECT = "https://app.example.test/callback"
POLICY = """
jwt:
  providers:
  - name: op
    issuer: {issuer}
    audiences: [web]
    algorithms: [RS256]
    remoteJWKS: {{uri: "{issuer}/jwks"}}
    extractFrom: {{cookies: [session]}}
"""


class Person:
    """A browser without a screen: one jar, links followed, forms filled in."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def log_in(self, name: str) -> str:
        """Authorization code flow; the ID token."""
        url = f"{self.issuer}/auth?client_id=web&response_type=code&scope=openid&redirect_uri={REDIRECT}"
        form: dict[str, str] | None = None
        while not url.startswith(REDIRECT):
            ask = (
                self.session.get(url, allow_redirects=False)
                if form is None
                else self.session.post(url, data=form, allow_redirects=False)
            )
            async with ask as response:
                text = await response.text()
                assert response.status in (200, 302, 303), text
                if response.status == 200:
                    prompt = fields(text)["prompt"]
                    url, form = action(text), {"prompt": prompt}
                    form |= {"login": name, "password": "any"} if prompt == "login" else {}
                else:
                    url, form = urljoin(url, response.headers["Location"]), None
        code = parse_qs(urlsplit(url).query)["code"][0]
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        client = {"Authorization": aiohttp.encode_basic_auth("web", "secret-of-the-tests")}
        async with self.session.post(f"{self.issuer}/token", data=grant, headers=client) as response:
            token: str = (await response.json())["id_token"]
        return token

    async def log_out(self) -> None:
        async with self.session.get(f"{self.issuer}/session/end") as response:
            page = await response.text()
        form = {"xsrf": fields(page)["xsrf"], "logout": "yes"}
        async with self.session.post(f"{self.issuer}/session/end/confirm", data=form) as response:
            assert response.status == 200


def action(page: str) -> str:
    found = re.search(r'<form[^>]*action="([^"]+)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def fields(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input[^>]*name="(\w+)" value="([^"]*)"', page))


@pytest.mark.parametrize("is_by_session", [True, False], ids=["sid", "sub"])
async def test_a_logout_at_the_provider_ends_the_socket(is_by_session: bool, backend: RecordingBackend) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    source = {
        "type": "BackChannelLogout",
        "issuer": issuer,
        "clientIDs": ["web"],
        "algorithms": ["RS256"],
        "remoteJWKS": {"uri": f"{issuer}/jwks"},
    }
    guard = Guard(
        backend, {"policy.yaml": policy(POLICY.format(issuer=issuer)), "guard.yaml": events(source, onGap=None)}
    )
    options = {
        "issuer": issuer,
        "redirect": REDIRECT,
        "logout": f"{guard.url}/.wsguard/backchannel-logout",
        "session": is_by_session,
    }
    async with node("oidc-provider.mjs", **options) as provider, guard:
        await provider.event("listening")
        at_work, at_home, bob = Person(issuer), Person(issuer), Person(issuer)
        tokens = [await at_work.log_in("alice"), await at_home.log_in("alice"), await bob.log_in("bob")]
        sockets = [await Socket(guard, token).open() for token in tokens]
        await at_work.log_out()
        await provider.event("told")
        assert await sockets[0].end() == (4441, "logged-out")
        assert await verdict(guard, tokens[0]) == "logged-out"
        if is_by_session:
            assert sockets[1].is_open, "another session of the same person"
        else:
            assert await sockets[1].end() == (4441, "logged-out")
        assert sockets[2].is_open
        assert not provider.events("error")
        for person in (at_work, at_home, bob):
            await person.session.close()
