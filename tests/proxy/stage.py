"""A house whose visitors have tokens that the test makes, and go on by newer ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.policy.minting import provider
from tests.proxy.house import Facts, House
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.evidence import Evidence
from wsguard.policy.model import Authorization, Jwt, OriginSpec, PolicySpec, Rejection, Session, WebSocketPolicy
from wsguard.policy.origin import SAME_HOST, OriginPattern
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection, Link
from wsguard.sessions.identity import Identity, cookie_digest

HERE, THERE = "http://localhost", "https://partner.example"
"""Origins that the policy lists: the guard's own, and somebody else's."""

ISSUER = "https://idp.test"
SKEW = 30.0
GOLD = Authorization.model_validate(
    {"rules": [{"action": "Allow", "principal": {"jwt": {"claims": [{"name": "tier", "values": ["gold"]}]}}}]}
)
"""Nobody but those whose tier is gold."""


def spec(**parts: Any) -> PolicySpec:
    """Tokens in a cookie, a header or a parameter, from two origins."""
    corp = provider(
        "HS256",
        issuer=ISSUER,
        extract_from={
            "cookies": [{"name": "session"}],
            "headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
            "params": [{"name": "access_token"}],
        },
    )
    origins = OriginSpec(allow_origins=(SAME_HOST, OriginPattern.parse(THERE)))
    usual: dict[str, Any] = {
        "jwt": Jwt(providers=(corp,)),
        "origin": origins,
        "rejection": Rejection(close_timeout=0.3),
    }
    return PolicySpec(**{**usual, "session": Session(clock_skew=SKEW), **parts})


class Tokens(Facts):
    """A verifier that knows each token's claims; whether it has to wait for them the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[str, Any]] = {}
        self.must_wait = False
        self.gate: asyncio.Event | None = None
        self.waited = 0

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...] | None:
        return None if self.must_wait else tuple(map(self._fact, credentials))

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        self.waited += 1
        if self.gate is not None:
            await self.gate.wait()
        return tuple(map(self._fact, credentials))

    def _fact(self, credential: Credential) -> TokenFact:
        claims = self.known.get(credential.token)
        if claims is None:
            return TokenFact(credential, TokenProblem(CloseReason.CREDENTIAL_INVALID, "unknown"))
        who = Identity(
            "corp", ISSUER, claims["sub"], credential.source, claims.get("sid"), claims.get("jti"), claims.get("iat"),
            claims.get("exp"), claims, cookie_digest(credential.token) if credential.kind is Kind.COOKIE else None,
        )  # fmt: skip
        return TokenFact(credential, who)


class Noted:
    """A revalidator that writes down what it is told."""

    def __init__(self) -> None:
        self.renewals: list[tuple[str, Evidence]] = []

    def enter(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        pass

    def renew(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        self.renewals.append((connection_id, evidence))

    def leave(self, connection_id: str) -> None:
        pass


@dataclass
class Stage:
    """A house whose tokens the test makes."""

    house: House
    tokens: Tokens
    revalidator: Noted

    @property
    def now(self) -> float:
        return self.house.clock.wall()

    def token(self, name: str, *, age: float = 0.0, lives: float = 60.0, **claims: Any) -> str:
        """A token of Ann's session that was issued `age` seconds ago and lives that long from now."""
        usual = {"sub": "ann", "sid": "s1", "jti": name, "iat": self.now - age, "exp": self.now + lives}
        usual |= {"tier": "gold", "iss": ISSUER, "aud": "chat"}
        self.tokens.known[name] = {key: value for key, value in {**usual, **claims}.items() if value is not None}
        return name

    @asynccontextmanager
    async def open(
        self, *, origin: str | None = HERE, path: str = "/ws", deadline: float = 10.0, **fields: str
    ) -> AsyncIterator[tuple[RawClient, Connection]]:
        """A connection of a page of `origin`, with these fields in its handshake; and what the registry has of it."""
        before = {connection.id for connection in self.house.registry}
        named = [(name.title(), value) for name, value in fields.items()]
        async with connect(self.house.port) as client:
            await client.open(wire.upgrade(path, origin=origin, fields=named))
            (one,) = [connection for connection in self.house.registry if connection.id not in before]
            yield client, one

    async def renew(
        self, *, origin: str | None = HERE, path: str = "/ws", body: Mapping[str, Any] | None = None, **fields: str
    ) -> tuple[int, Any]:
        """Ask for a renewal by what stands in these fields or in `body`; the status and the answer."""
        more = [("Host", "localhost"), *((name.title(), value) for name, value in fields.items())]
        more += [("Origin", origin)] if origin is not None else []
        content = b"" if body is None else json.dumps(body).encode()
        more += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))] if body else []
        async with connect(self.house.port) as client:
            await client.send(wire.request("POST", f"/.wsguard/renew?path={path}", more) + content)
            head = await client.head()
            return head.status, json.loads(await client.body(head))

    def turn(self, seconds: float) -> None:
        """The wall clock goes on."""
        self.house.clock.wall_offset += seconds

    def lives_until(self, connection: Connection) -> float:
        """Seconds from now, without the skew."""
        assert connection.expires_at is not None
        return connection.expires_at - SKEW - self.now


@asynccontextmanager
async def stage(backend: RecordingBackend, **parts: Any) -> AsyncIterator[Stage]:
    """One in front of `backend`; `parts` are its policy's."""
    house = House(backend, spec(**parts))
    tokens = house.facts = Tokens()
    async with house:
        house.env.revalidator = noted = Noted()
        yield Stage(house, tokens, noted)
        for conversation in backend.conversations:
            conversation.close()
