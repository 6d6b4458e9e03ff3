"""What the two endpoints for identity providers have in common: reading, a rate, keys, replays, and storing.

The order is the cheapest first: method, rate, size and form are looked at before any signature, and success is said
only once every stream has the event.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from cachetools import TTLCache

from wsguard.events.bus import Bus, Storing
from wsguard.events.outbox import OutboxFull
from wsguard.events.rate import Allowance, Rate
from wsguard.policy.effective import Effective, written_ip
from wsguard.policy.event_tokens import CLOCK_SKEW, MAX_AGE, BadToken, Told
from wsguard.policy.keys import KeySet
from wsguard.policy.model import BackChannelLogout, JwtProvider, SharedSignals
from wsguard.policy.tokens import TokenProblem, UnverifiedToken, peek_event
from wsguard.sessions.clock import Clock

MAX_BODY = 16 * 1024
"""Bytes of a body."""

BODY_PATIENCE = 5.0
"""Seconds in which a whole body must have come."""

_REMEMBERED = 100_000

# Events that are looked at. Many: a provider that ends a thousand sessions at once may ask for each only once.
PER_CLIENT, IN_ALL = Allowance(200.0, 1_000.0), Allowance(500.0, 2_000.0)

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
    """One configured issuer: its type as in policy files, and who it is.

    `authorization_file` holds what the Authorization field of its requests must be; None: anything.
    """

    name: str
    provider: JwtProvider
    authorization_file: str | None = None

    @classmethod
    def of(cls, spec: BackChannelLogout | SharedSignals) -> Source:
        """The source that a policy file describes."""
        return cls(spec.type, spec.provider, spec.authorization_file if isinstance(spec, SharedSignals) else None)


@dataclass(slots=True)
class _Taken:
    """A good token, and whether its event is stored. `is_told`: whoever posted it was told that it is."""

    storing: Storing = field(repr=False)
    is_told: bool = False


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
        self._rate = Rate(PER_CLIENT, IN_ALL)
        self._taken: TTLCache[bytes, _Taken] = TTLCache(_REMEMBERED, MAX_AGE + 2 * CLOCK_SKEW, timer=clock.monotonic)

    async def body(self, request: web.BaseRequest, effective: Effective, content_type: str) -> bytes:
        """The body of a well-formed POST. Raises Refusal."""
        if request.method != "POST":
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "only POST is answered here")
        if not self._rate.allows(written_ip(effective.client_ip), self._clock.monotonic()):
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "temporarily_unavailable", "too many requests")
        if request.content_type != content_type:
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", f"Content-Type is not {content_type}")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                async for chunk in request.content.iter_chunked(MAX_BODY):
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise Refusal(
                            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_request", f"more than {MAX_BODY} bytes"
                        )
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "invalid_request", "the body did not come in time") from None
        return bytes(body)

    def read(self, text: str) -> tuple[UnverifiedToken, Source]:
        """The token in `text`, which nobody has vouched for yet, and whose it claims to be. Raises Refusal."""
        token = peek_event(text)
        if isinstance(token, TokenProblem):
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", token.detail)
        source = self._sources.get(token.issuer or "")
        if source is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_issuer", "iss is no issuer that is configured here")
        return token, source

    async def take(self, token: UnverifiedToken, source: Source, *, is_replay_fine: bool) -> None:
        """Verify `token`, apply and publish what it says; returns once that is stored. Raises Refusal.

        One whose success was said before is done already where `is_replay_fine`, and else refused. One that comes again
        before that waits for the same storing: whoever was told to try again does not fill the outbox by it.
        """
        told = await self._verified(token, source.provider)
        mark = hashlib.sha256(f"{source.provider.issuer}\0{told.token_id}".encode()).digest()
        taken = self._taken.get(mark)
        if taken is not None and taken.is_told:
            if is_replay_fine:
                return
            raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the token was used before (jti)")
        if taken is None:
            taken = self._taken[mark] = _Taken(self._tell(told, source, mark.hex()[:32]))
        if not await self._bus.stored(source.name, taken.storing):
            raise _not_stored()
        taken.is_told = True

    def _tell(self, told: Told, source: Source, event_id: str) -> Storing:
        try:
            return [one for logout in told.logouts for one in self._bus.tell(source.name, logout, event_id)[1]]
        except OutboxFull:
            raise _not_stored() from None

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


def _not_stored() -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable", "the event is not stored yet")


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
    if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
        response.force_close()
    return response
