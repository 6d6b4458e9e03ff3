"""An OpenID provider that introspects (RFC 7662), and mints and revokes tokens as a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from tests.support.programs import node

SECRET = "s3cret:&+%"


class Provider:
    """oidc-provider, where tokens are minted and revoked without a browser."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def mint(self, subject: str) -> str:
        return await self._get(f"/mint?sub={subject}")

    async def revoke(self, token: str) -> None:
        await self._get(f"/revoke?token={quote(token)}")

    async def _get(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()


@asynccontextmanager
async def running(lifetime: int = 3600) -> AsyncIterator[Provider]:
    program = node("introspection-server.mjs", secret=SECRET, lifetime=lifetime)
    async with program:
        yield Provider((await program.event("listening"))["url"])
