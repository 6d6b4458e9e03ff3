"""Published key sets, fetched over the network and kept.

One fetch at a time for each address, however many handshakes wait for it. Keys outlive a provider that is
away (stale-while-error), though not for ever; and no token, however often its `kid` changes, can cause more
than one fetch in `failedRefetchDuration`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from cachetools import LRUCache

from wsguard.policy.keys import MAX_DOCUMENT, BadKeys, KeySet
from wsguard.policy.model import JwtProvider, RemoteJwks
from wsguard.sessions.clock import Clock
from wsguard.tracebacks import forget_traceback

FETCH_TIMEOUT = 5.0
"""Seconds for a whole fetch."""

STALE_LIMIT = 86_400.0
"""Seconds for which keys that cannot be fetched anew are still used: a withdrawn key must end some day."""

MAX_ADDRESSES = 256
"""Addresses whose keys are kept; beyond, the least recently used one is fetched again when it is needed."""

# No compression: a megabyte on the wire is a megabyte in memory.
_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}

FetchResult = Literal["success", "failure"]

_log = logging.getLogger(__name__)


class JwksUnavailable(Exception):
    """No key set that could answer; the message says why, for the operator."""


class _FetchFailed(Exception):
    """One fetch did not bring a key set."""


@dataclass(slots=True)
class _Entry:
    """What is known of one address. Times are on the monotonic clock."""

    keys: KeySet | None = None
    digest: bytes = b""
    fetched_at: float = 0.0
    tried_at: float | None = None
    failure: str | None = None
    fetch: asyncio.Task[None] | None = field(default=None, repr=False)


class JwksCache:
    """Key sets by address and CA file: policies that name the same address share its keys.

    `session` makes the requests and stays the caller's to close. `on_fetch` is told the provider's name and
    the result of every fetch.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Clock,
        on_fetch: Callable[[str, FetchResult], None],
        *,
        timeout: float = FETCH_TIMEOUT,
    ) -> None:
        self._session = session
        self._clock = clock
        self._on_fetch = on_fetch
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._entries: LRUCache[tuple[str, str | None], _Entry] = LRUCache(MAX_ADDRESSES)
        self._fetches: set[asyncio.Task[None]] = set()

    def peek(self, provider: JwtProvider) -> KeySet | None:
        """The keys of `provider` where they are fresh, without waiting; else None."""
        remote = _remote(provider)
        entry = self._entries.get((remote.uri, remote.ca_file))
        return entry.keys if entry is not None and self._is_fresh(entry, remote) else None

    async def get(self, provider: JwtProvider, *, besides: KeySet | None = None) -> KeySet:
        """The keys of `provider`, fetched where they are old, or where they are still `besides`.

        `besides` is a set without the key that a token names: it may come back unchanged, because it was
        fetched just now or because the issuer has no other. While fetches fail, the old keys are given at
        once. Raises JwksUnavailable where there are none, or where it stays open whether there are others.
        """
        remote = _remote(provider)
        entry = self._entries.setdefault((remote.uri, remote.ca_file), _Entry())
        wanting = besides is not None and entry.keys is besides
        if wanting or not self._is_fresh(entry, remote):
            fetch = entry.fetch or self._start_fetch(entry, provider, remote)
            if fetch is not None and (wanting or entry.failure is None or not self._is_usable(entry)):
                await asyncio.shield(fetch)  # it belongs to all who wait: one who leaves does not end it
        if entry.keys is None or not self._is_usable(entry) or (wanting and entry.failure is not None):
            raise JwksUnavailable(f"no keys of provider {provider.name}: {entry.failure}")
        return entry.keys

    async def close(self) -> None:
        """End the fetches under way."""
        for fetch in self._fetches:
            fetch.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)

    def _is_fresh(self, entry: _Entry, remote: RemoteJwks) -> bool:
        return entry.keys is not None and self._clock.monotonic() - entry.fetched_at < remote.cache_duration

    def _is_usable(self, entry: _Entry) -> bool:
        return entry.keys is not None and self._clock.monotonic() - entry.fetched_at < STALE_LIMIT

    def _start_fetch(self, entry: _Entry, provider: JwtProvider, remote: RemoteJwks) -> asyncio.Task[None] | None:
        """A new fetch; None where the last one ended less than `failedRefetchDuration` ago."""
        ended = entry.tried_at
        if ended is not None and self._clock.monotonic() - ended < remote.failed_refetch_duration:
            return None
        entry.fetch = asyncio.create_task(self._fetch(entry, provider, remote))
        self._fetches.add(entry.fetch)
        entry.fetch.add_done_callback(self._fetches.discard)
        return entry.fetch

    async def _fetch(self, entry: _Entry, provider: JwtProvider, remote: RemoteJwks) -> None:
        failure: str | None = "the fetch was given up"
        try:
            self._keep(entry, provider, await self._download(remote))
            failure = None
        except (_FetchFailed, BadKeys) as error:
            failure = str(error)
        finally:
            entry.fetch = None
            entry.tried_at = self._clock.monotonic()
            if failure is not None and failure != entry.failure:
                _log.warning("provider %s: its keys could not be fetched: %s", provider.name, failure)
            elif failure is None and entry.failure is not None:
                _log.warning("provider %s: its keys were fetched again", provider.name)
            entry.failure = failure
            self._on_fetch(provider.name, "success" if failure is None else "failure")

    def _keep(self, entry: _Entry, provider: JwtProvider, document: bytes) -> None:
        """Take `document` over. Where it says the same as before, the set and all that hangs on it stay."""
        digest = hashlib.sha256(document).digest()
        if entry.keys is None or digest != entry.digest:
            entry.keys, entry.digest = KeySet.from_jwks(document), digest
            for why in entry.keys.ignored:
                _log.warning("provider %s: a published key is of no use: %s", provider.name, why)
        entry.fetched_at = self._clock.monotonic()

    async def _download(self, remote: RemoteJwks) -> bytes:
        try:
            return await self._read(remote)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            forget_traceback(error)
            raise _FetchFailed(self._why(error)) from None

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no complete answer within {self._timeout.total} s"
        # The messages of these two quote header lines of the answer: they are for nobody's log.
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return "the server disconnected before its answer was whole"
        if isinstance(error, aiohttp.ClientResponseError):
            return "the answer is no HTTP that can be read"
        return str(error) or type(error).__name__

    async def _read(self, remote: RemoteJwks) -> bytes:
        # The CA file is read each time: a rotated one counts at the next fetch.
        trust: ssl.SSLContext | bool = True
        if remote.ca_file is not None:
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=remote.ca_file)
        # A redirect would let whoever answers choose where keys come from, and whom the guard calls.
        async with self._session.get(
            remote.uri, allow_redirects=False, headers=_HEADERS, ssl=trust, timeout=self._timeout
        ) as response:
            if response.status != 200:
                raise _FetchFailed(f"the answer is {response.status}, 200 is needed")
            document = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                document += chunk
                if len(document) > MAX_DOCUMENT:
                    raise _FetchFailed(f"the answer is longer than {MAX_DOCUMENT} bytes")
            return bytes(document)


def _remote(provider: JwtProvider) -> RemoteJwks:
    if provider.remote_jwks is None:
        raise ValueError(f"provider {provider.name} has no remoteJWKS")
    return provider.remote_jwks
