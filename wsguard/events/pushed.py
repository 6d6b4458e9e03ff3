"""What the two endpoints for identity providers have in common: reading, a rate, keys, replays, and storing.

The order is the cheapest first: method, rate, size and form are looked at before any signature, and success is said
only once every stream has the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from cachetools import TTLCache

from wsguard.events.bus import Bus
from wsguard.events.outbox import OutboxFull
from wsguard.events.rate import Rate
from wsguard.policy.effective import Effective
from wsguard.policy.event_tokens import CLOCK_SKEW, MAX_AGE, BadToken, Told
from wsguard.policy.keys import KeySet
from wsguard.policy.model import BackChannelLogout, JwtProvider, SharedSignals
from wsguard.policy.tokens import TokenProblem, UnverifiedToken, peek_event
from wsguard.sessions.clock import Clock

MAX_BODY = 16 * 1024
"""Bytes of a body."""

_REMEMBERED = 100_000

Route = Callable[[web.BaseRequest, Effective], Awaitable[web.StreamResponse]]
"""Answers a request; the second is how its client made it."""

Reader = Callable[[UnverifiedToken, JwtProvider, KeySet, float], Told | BadToken]


class Keys(Protocol):
    """Where keys come from (wsguard.identity, and files)."""

    async def keys_of(self, provider: JwtProvider, besides: KeySet | None = None) -> KeySet | None:
        """The keys of `provider`, or others than `besides`; None where they cannot be had now."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One configured issuer: its type as in policy files, and who it is."""

    name: str
    provider: JwtProvider

    @classmethod
    def of(cls, spec: BackChannelLogout | SharedSignals) -> Source:
        """The source that a policy file describes."""
        return cls(spec.type, spec.provider)


class Refusal(Exception):
    """The answer is no: an HTTP status, a code of the standard, and a sentence."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Intake:
    """Takes event tokens of `sources` in and gives what they say to the bus."""

    def __init__(self, sources: Sequence[Source], reader: Reader, bus: Bus, keys: Keys, clock: Clock) -> None:
        self._sources: Mapping[str, Source] = {source.provider.issuer or "": source for source in sources}
        self._name = sources[0].name
        self._reader = reader
        self._bus = bus
        self._keys = keys
        self._clock = clock
        self._rate = Rate()
        self._seen: TTLCache[bytes, None] = TTLCache(_REMEMBERED, MAX_AGE + 2 * CLOCK_SKEW, timer=clock.monotonic)

    async def body(self, request: web.BaseRequest, effective: Effective, content_type: str) -> bytes:
        """The body of a well-formed POST. Raises Refusal."""
        if request.method != "POST":
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "only POST is answered here")
        if not self._rate.allows(str(effective.client_ip or "unknown"), self._clock.monotonic()):
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "temporarily_unavailable", "too many requests")
        if request.content_type != content_type:
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", f"Content-Type is not {content_type}")
        body = bytearray()
        async for chunk in request.content.iter_chunked(MAX_BODY):
            body += chunk
            if len(body) > MAX_BODY:
                raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_request", f"more than {MAX_BODY} bytes")
        return bytes(body)

    async def take(self, text: str, *, is_replay_fine: bool) -> None:
        """Verify the token `text`, apply and publish what it says. Raises Refusal.

        One that was taken before is done already where `is_replay_fine`, and else refused.
        """
        token = peek_event(text)
        if isinstance(token, TokenProblem):
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", token.detail)
        source = self._sources.get(token.issuer or "")
        if source is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_issuer", "iss is no issuer that is configured here")
        told = await self._verified(token, source.provider)
        mark = hashlib.sha256(f"{source.provider.issuer}\0{told.token_id}".encode()).digest()
        if mark in self._seen:
            if is_replay_fine:
                return
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the token was used before (jti)")
        self._seen[mark] = None
        try:
            for logout in told.logouts:
                published = await self._bus.publish(source.name, logout, mark.hex()[:32])
                if not published.stored:
                    raise OutboxFull
        except BaseException as error:
            self._seen.pop(mark, None)  # the provider tries again with the same token
            if isinstance(error, OutboxFull):
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable", "the event is not stored yet"
                ) from None
            raise

    async def _verified(self, token: UnverifiedToken, provider: JwtProvider) -> Told:
        keys = await self._keys.keys_of(provider)
        result = None if keys is None else self._reader(token, provider, keys, self._clock.wall())
        if isinstance(result, BadToken) and result.unknown_key:
            newer = await self._keys.keys_of(provider, besides=keys)
            if newer is not keys:
                result = None if newer is None else self._reader(token, provider, newer, self._clock.wall())
        if result is None:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable", "the issuer's keys cannot be had")
        if isinstance(result, BadToken):
            raise Refusal(HTTPStatus.BAD_REQUEST, result.code, result.detail)
        return result

    def refused(self) -> None:
        """Count a token that was not taken."""
        self._bus.refused(self._name)


def answer(status: HTTPStatus, body: Mapping[str, str] | None = None) -> web.Response:
    """An answer that nobody keeps."""
    headers = {"Cache-Control": "no-store"}
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = "1"
    if body is None:
        return web.Response(status=status, headers=headers)
    response = web.json_response(dict(body), status=status, headers=headers)
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        response.force_close()
    return response
