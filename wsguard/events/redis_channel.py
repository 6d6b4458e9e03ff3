"""What replicas say to one another, by PUBLISH and SUBSCRIBE of Redis.

The channel is named after the stream's key and the database: Redis keeps keys of databases apart, but not channels.
"""

from __future__ import annotations

import asyncio

import redis.asyncio as aioredis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from wsguard.events.redis_client import Options, connect, describe, leave
from wsguard.events.source import PATIENCE, POLL, StreamAway


class RedisChannel:
    """See `channel.Channel`; beside the stream of this `key`."""

    name = "RedisStream"

    def __init__(self, options: Options, key: str) -> None:
        self.topic = key
        self._options = options
        self._channel = ""
        self._client: aioredis.Redis | None = None
        self._ears: PubSub | None = None

    async def open(self) -> None:
        """Connect and listen; see `channel.Channel`."""
        await self.close()
        try:
            self._client = await connect(self._options)
            database = self._client.connection_pool.connection_kwargs.get("db") or 0
            self._channel = f"{self.topic}:counts:{database}"
            self._ears = self._client.pubsub(ignore_subscribe_messages=True)
            async with asyncio.timeout(PATIENCE):
                await self._ears.subscribe(self._channel)
                await self._ears.get_message(timeout=PATIENCE)  # Redis' answer, which is none of the messages
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise StreamAway(describe(error)) from None

    async def hear(self) -> bytes | None:
        """The next message; see `channel.Channel`."""
        if self._ears is None:
            raise StreamAway("not connected")
        try:
            message = await self._ears.get_message(timeout=POLL)
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise StreamAway(describe(error)) from None
        return message["data"] if message is not None and message["type"] == "message" else None

    async def say(self, document: bytes) -> None:
        """Let all hear `document`; see `channel.Channel`."""
        if self._client is None:
            raise StreamAway("not connected")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._client.publish(self._channel, document)
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise StreamAway(describe(error)) from None

    async def close(self) -> None:
        """End the connections."""
        client, self._client, self._ears = self._client, None, None
        if client is not None:
            await leave(client)
