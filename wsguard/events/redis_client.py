"""Connections to Redis, for the stream and for what is said beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from wsguard.events.source import CONNECT, FAREWELL, PATIENCE

Options = Callable[[], tuple[str, Mapping[str, Any]]]
"""The address and the options of a client, read anew for each: a rotated password counts at the next connection."""


async def connect(options: Options) -> aioredis.Redis:
    """A client that has reached its engine. Raises what the library raises, OSError and TimeoutError."""
    url, more = options()
    client = aioredis.Redis.from_url(
        url,
        **more,
        socket_connect_timeout=CONNECT,
        socket_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),  # who uses it knows when to try again
        decode_responses=False,
    )
    try:
        async with asyncio.timeout(CONNECT):
            await client.ping()
    except BaseException:
        await leave(client)
        raise
    return client


async def leave(client: aioredis.Redis) -> None:
    """End a client's connections, for which there may be nobody at the other side."""
    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await client.aclose()


def describe(error: Exception) -> str:
    """For the operator: the kind of error, and Redis' own sentence without what may hold an address with a password."""
    return f"{type(error).__name__}: {error}"[:300] if isinstance(error, RedisError) else type(error).__name__
