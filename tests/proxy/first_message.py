"""A policy that awaits a token in the first message, and who knows the one good token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.policy.minting import provider
from tests.proxy.tunnel import QUICK
from wsguard.policy.credentials import Credential
from wsguard.policy.model import (
    CookieSource,
    ExtractFrom,
    FirstMessage,
    Jwt,
    MissingOrigin,
    OriginSpec,
    PolicySpec,
    WebSocketPolicy,
)
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

GOOD = "good-token"
CLAIMS = {"sub": "ann", "exp": 1e10}
ANN = Identity("corp", "https://idp.example.test", "ann", "first-message:payload.token", "s1", "j1", 1.0, 1e10, CLAIMS)
OPEN = OriginSpec(missing=MissingOrigin.ALLOW)


def spec(timeout: float = 5.0, max_size: int = 1024, forward: bool = False, **fields: Any) -> PolicySpec:
    """A policy that takes a token from a cookie, or awaits one."""
    message = FirstMessage(json_path="payload.token", timeout=timeout, max_size=max_size, forward=forward)
    extract = ExtractFrom(cookies=(CookieSource(name="session"),), first_message=message)
    corp = provider("HS256", extract_from=extract, claim_to_headers=({"claim": "sub", "header": "X-User"},))
    return PolicySpec(**{"jwt": Jwt(providers=(corp,)), "rejection": QUICK, "origin": OPEN, **fields})


class OneToken:
    """Knows one good token; every other is refused. `release` lets a held answer go."""

    def __init__(self) -> None:
        self.asked: list[Credential] = []
        self.identity = ANN
        self.release = asyncio.Event()
        self.release.set()

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> None:
        return None

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        self.asked += credentials
        await self.release.wait()
        bad = TokenProblem(CloseReason.CREDENTIAL_INVALID, "no such token")
        return tuple(TokenFact(each, self.identity if each.token == GOOD else bad) for each in credentials)
