from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.identity.key_server import HandClock, KeyServer, document
from tests.policy.minting import jwks, public_jwk
from wsguard.identity.jwks import JwksCache

Results = list[tuple[str, str]]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def results() -> Results:
    """Every fetch, as the metric is told of it."""
    return []


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """Publishes the key `ES256-1`."""
    async with KeyServer(document(jwks(public_jwk("ES256")))) as running:
        yield running


@pytest.fixture
async def cache(clock: HandClock, results: Results) -> AsyncIterator[JwksCache]:
    async with aiohttp.ClientSession() as session:
        cache = JwksCache(session, clock, lambda provider, result: results.append((provider, result)))
        yield cache
        await cache.close()


@pytest.fixture
async def impatient_cache(clock: HandClock, results: Results) -> AsyncIterator[JwksCache]:
    """Gives a fetch up after half a second."""
    async with aiohttp.ClientSession() as session:
        cache = JwksCache(session, clock, lambda provider, result: results.append((provider, result)), timeout=0.5)
        yield cache
        await cache.close()
