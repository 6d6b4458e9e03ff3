"""A stream between replicas in Redis 7 or newer.

Each look at the stream is one transaction: the state and the entries behind the cursor, as of one moment. Redis counts
all entries that were ever added, so what is missing between two looks is known exactly, whatever took it: trimming, a
deletion, a lost disk. Waiting is a plain XREAD; what it returns only says that it is time to look again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from wsguard.events.redis_client import Options, connect, describe, leave
from wsguard.events.source import BATCH, PATIENCE, POLL, Batch, Entry, StreamAway

FIELD = b"event"
"""The field of an entry that holds the event."""

_NOTHING: Mapping[str, Any] = {"length": 0, "entries-added": 0, "last-generated-id": b"0-0"}


class RedisStream:
    """See `source.Stream`. `since` is how far back to begin, in seconds since the epoch.

    What is older than `keep` seconds is trimmed when something is appended.
    """

    name = "RedisStream"

    def __init__(self, options: Options, key: str, since: float, keep: float) -> None:
        self._options = options
        self._key = key
        self._start = self._cursor = f"{max(int(since * 1000), 0)}-0".encode()
        self._keep = keep
        self._added: int | None = None  # entries ever added, up to the cursor; None: not known yet
        self._ended = (0, 0)  # the last id that the stream had given out at the last look
        self._client: aioredis.Redis | None = None
        self._is_waiting = False  # nothing was behind the cursor at the last look
        self._connecting = asyncio.Lock()

    async def read(self) -> Batch:
        """The next entries; see `source.Stream`."""
        try:
            client = await self._connected()
            if self._is_waiting:
                await client.xread({self._key: self._cursor}, count=1, block=int(POLL * 1000))
            return await self._look(client)
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise await self._away(error) from None

    async def append(self, document: bytes) -> None:
        """Store `document`; see `source.Stream`."""
        try:
            client = await self._connected()
            async with asyncio.timeout(PATIENCE):
                seconds, _ = await client.time()
                horizon = f"{int((seconds - self._keep) * 1000)}-0" if seconds > self._keep else "0-0"
                await client.xadd(self._key, {FIELD: document}, minid=horizon, approximate=True)
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise StreamAway(describe(error)) from None

    async def close(self) -> None:
        """End the connections."""
        client, self._client = self._client, None
        if client is not None:
            await leave(client)

    async def _connected(self) -> aioredis.Redis:
        async with self._connecting:  # who reads and who appends share one client
            if self._client is None:
                self._client = await connect(self._options)
            return self._client

    async def _look(self, client: aioredis.Redis) -> Batch:
        async with client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._key)
            pipe.xrange(self._key, b"(" + self._cursor, "+", count=BATCH)
            info, found = await pipe.execute(raise_on_error=False)
        if isinstance(info, ResponseError) and "no such key" in str(info):
            info, found = _NOTHING, []
        for answer in (info, found):
            if isinstance(answer, Exception):
                raise answer
        if "entries-added" not in info:
            raise ResponseError("this Redis is older than 7.0")
        is_latest = len(found) < BATCH
        ended, self._ended = self._ended, _order(info["last-generated-id"])
        if self._ended < ended:  # another stream: none of it was read
            self._cursor, self._added, self._is_waiting = b"0-0", 0, False
            return Batch((), is_latest=False, gap="the stream was lost or made anew")
        gap = self._gap(info, len(found)) if is_latest else None
        entries = tuple(_entry(entry_id, fields or {}) for entry_id, fields in found)
        if found:
            self._cursor = found[-1][0]
        if is_latest:
            self._added = info["entries-added"]
        elif self._added is not None:
            self._added += len(found)
        self._is_waiting = is_latest
        return Batch(entries, is_latest, gap)

    def _gap(self, info: Mapping[str, Any], found: int) -> str | None:
        """What is missing, of a look that reached the end."""
        if self._added is not None:
            missing = info["entries-added"] - self._added - found
            return "entries that were not read yet are gone from the stream" if missing else None
        return self._gap_at_start(info)

    def _gap_at_start(self, info: Mapping[str, Any]) -> str | None:
        """Whether what was removed may be younger than the place to begin at; before the first read, nobody counted."""
        start = _order(self._start)
        if _order(info.get("max-deleted-entry-id") or b"0-0") > start:
            return "entries inside the replay window were deleted"
        first = info.get("first-entry")
        eldest = first[0] if first else info["last-generated-id"]
        if info["entries-added"] > info["length"] and _order(eldest) > start:
            return "the stream was trimmed inside the replay window"
        return None

    async def _away(self, error: Exception) -> StreamAway:
        self._is_waiting = False
        await self.close()
        return StreamAway(describe(error))


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    # What has not exactly this field is no event: an empty document, which the reader skips and counts.
    document = fields[FIELD] if fields.keys() == {FIELD} else b""
    return Entry(entry_id.decode("ascii"), document, _order(entry_id)[0] / 1000)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)
