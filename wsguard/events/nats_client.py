"""Connections to NATS, for the stream and for what is said beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from wsguard.events.source import CONNECT, FAREWELL

Options = Callable[[], tuple[str, Mapping[str, Any]]]
"""The address and the options of a client, read anew for each: a rotated password counts at the next connection."""


async def connect(options: Options) -> Client:
    """A client that has reached its engine. Raises what the library raises, OSError, ValueError and TimeoutError."""
    url, more = options()
    async with asyncio.timeout(CONNECT):
        return await nats.connect(
            url,
            **more,
            allow_reconnect=False,  # who uses it knows when to try again;
            max_reconnect_attempts=1,  # and a port that refuses is not to be tried for two minutes
            reconnect_time_wait=0,
            connect_timeout=int(CONNECT),
            error_cb=_say_nothing,
            name="wsguard",
        )


async def leave(client: Client) -> None:
    """End a client's connection, which may well have nobody at its other side."""
    with suppress(NatsError, OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await client.close()  # it flushes


async def _say_nothing(error: Exception) -> None:
    """Errors come out of the calls that meet them; the library's own handler would print them."""


def describe(error: Exception) -> str:
    """For the operator: the kind of error, and NATS' own sentence without what may hold an address with a password."""
    detail = error.description if isinstance(error, APIError) else str(error)
    return (
        f"{type(error).__name__}: {detail}"[:300]
        if isinstance(error, (NatsError, ValueError))
        else type(error).__name__
    )
