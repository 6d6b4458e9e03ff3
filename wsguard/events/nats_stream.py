"""A stream between replicas in NATS JetStream (2.9 or newer).

JetStream numbers what it stores without a hole, so a number that is missing between two entries is an entry that nobody
can read any more. The consumer is this replica's own, acknowledges nothing and begins behind the last number that was
read; where the engine forgot it, the next read makes another.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig

from wsguard.events.nats_client import Options, connect, describe, leave
from wsguard.events.source import BATCH, PATIENCE, POLL, Batch, Entry, StreamAway

_NO_STREAM = 10059  # JetStream's own error code
_FORGET_CONSUMER = 60.0
_GONE = "entries that were not read yet are gone from the stream"


@dataclass(frozen=True, slots=True)
class _State:
    """What JetStream says of a stream. `first_at` is seconds since the epoch."""

    created: str
    first: int
    last: int
    first_at: float
    last_at: float
    messages: int


class NatsStream:
    """See `source.Stream`. `since` is how far back to begin, in seconds since the epoch.

    A stream that is made here keeps its entries for `keep` seconds.
    """

    name = "NATSJetStream"

    def __init__(self, options: Options, stream: str, subject: str, since: float, keep: float) -> None:
        self._options = options
        self._stream = stream
        self._subject = subject
        self._since = since
        self._keep = keep
        self._created: str | None = None
        self._cursor: int | None = None  # the number of the last entry that was read; None: none yet
        self._client: Client | None = None
        self._pull: JetStreamContext.PullSubscription | None = None
        self._pending = 0
        self._is_waiting = False
        self._lost: str | None = None  # a gap that was seen and is not told yet, whatever fails in between
        self._connecting = asyncio.Lock()

    async def read(self) -> Batch:
        """The next entries; see `source.Stream`."""
        try:
            client = await self._connected()
            state = await self._state(client)
            if (gap := self._gap(state)) is not None:
                self._lost = gap
                await self._drop_pull()
            if self._pull is None:
                await self._begin(client, state)
            if not self._pending and not self._is_waiting:  # told once, and without a wait
                self._is_waiting = True
                return self._batch([], is_latest=True)
            return await self._fetch(state)
        except (NatsError, OSError, ValueError, TimeoutError, ssl.SSLError) as error:
            raise await self._away(error) from None

    async def append(self, document: bytes) -> None:
        """Store `document`; see `source.Stream`."""
        try:
            client = await self._connected()
            async with asyncio.timeout(PATIENCE):
                await client.jetstream(timeout=PATIENCE).publish(self._subject, document, stream=self._stream)
        except (NatsError, OSError, ValueError, TimeoutError, ssl.SSLError) as error:
            raise StreamAway(describe(error)) from None

    async def close(self) -> None:
        """End the connection."""
        client, self._client, self._pull = self._client, None, None
        if client is not None:
            await leave(client)

    async def _connected(self) -> Client:
        async with self._connecting:  # who reads and who appends share one connection
            if self._client is None or not self._client.is_connected:
                await self.close()
                self._client = await connect(self._options)
            return self._client

    async def _state(self, client: Client) -> _State:
        """What the stream is now; where it is not there, it is made."""
        answer = await self._ask(client, f"$JS.API.STREAM.INFO.{self._stream}")
        if "error" in answer and answer["error"].get("err_code") == _NO_STREAM:
            config = StreamConfig(
                name=self._stream,
                subjects=[self._subject],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=self._keep,
            )
            await client.jetstream(timeout=PATIENCE).add_stream(config)
            answer = await self._ask(client, f"$JS.API.STREAM.INFO.{self._stream}")
        if "error" in answer:
            raise ValueError(str(answer["error"].get("description")))
        state = answer["state"]
        return _State(
            created=answer["created"],
            first=state["first_seq"],
            last=state["last_seq"],
            first_at=_seconds(state["first_ts"]),
            last_at=_seconds(state["last_ts"]),
            messages=state["messages"],
        )

    async def _ask(self, client: Client, subject: str) -> dict[str, Any]:
        answer = await client.request(subject, b"", timeout=PATIENCE)
        document: dict[str, Any] = json.loads(answer.data)
        return document

    def _gap(self, state: _State) -> str | None:
        """What is missing before the next entry; the cursor is put where reading can go on."""
        created, self._created = self._created, state.created
        if created is None:
            return self._gap_at_start(state)
        if created != state.created or (self._cursor or 0) > state.last:
            self._cursor, self._is_waiting = 0, False
            return "the stream was lost or made anew"
        if self._cursor is not None and self._cursor + 1 < state.first:
            self._cursor, self._is_waiting = state.first - 1, False
            return _GONE
        return None

    def _gap_at_start(self, state: _State) -> str | None:
        """Whether what was removed may be younger than the place to begin at."""
        eldest_at = state.first_at if state.messages else state.last_at
        if state.first > 1 and eldest_at > self._since:
            return "the stream was trimmed inside the replay window"
        return None

    async def _begin(self, client: Client, state: _State) -> None:
        """Make a consumer behind the cursor, or at the replay window's start."""
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE, inactive_threshold=_FORGET_CONSUMER, mem_storage=True, max_deliver=1
        )
        if self._cursor is None:
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = datetime.fromtimestamp(self._since, UTC).isoformat()  # type: ignore[assignment]
        else:
            config.deliver_policy, config.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, self._cursor + 1
        jetstream = client.jetstream(timeout=PATIENCE)
        made = await jetstream.add_consumer(self._stream, config=config)
        self._pull = await jetstream.pull_subscribe_bind(made.name, self._stream)
        self._pending, self._is_waiting = made.num_pending or 0, False
        if not self._pending and self._cursor is None:
            self._cursor = state.last

    async def _fetch(self, state: _State) -> Batch:
        assert self._pull is not None
        try:
            # An exact number: a fetch of more waits for those that are not there yet.
            if self._pending:
                messages = await self._pull.fetch(min(self._pending, BATCH), timeout=PATIENCE)
            else:
                messages = await self._pull.fetch(1, timeout=POLL)
        except TimeoutError:
            if self._pending or state.last > (self._cursor or 0):  # the engine forgot the consumer
                raise
            return self._batch([], is_latest=True)
        for message in messages:
            number = message.metadata.sequence.stream
            if self._cursor is not None and number > self._cursor + 1:
                self._lost = self._lost or _GONE
            self._cursor = number
        self._pending = messages[-1].metadata.num_pending
        self._is_waiting = not self._pending
        return self._batch(messages, is_latest=self._is_waiting)

    def _batch(self, messages: list[Msg], is_latest: bool) -> Batch:
        lost, self._lost = self._lost, None
        return Batch(tuple(map(_entry, messages)), is_latest, lost)

    async def _drop_pull(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            await pull.unsubscribe()

    async def _away(self, error: Exception) -> StreamAway:
        self._is_waiting, self._pending = False, 0
        await self.close()
        return StreamAway(describe(error))


def _entry(message: Msg) -> Entry:
    metadata = message.metadata
    return Entry(str(metadata.sequence.stream), message.data, metadata.timestamp.timestamp())


def _seconds(text: str) -> float:
    """An RFC 3339 moment with nanoseconds; the year 1 stands for none."""
    whole = text.partition(".")[0].removesuffix("Z")
    return max(datetime.fromisoformat(f"{whole}+00:00").timestamp(), 0.0)
