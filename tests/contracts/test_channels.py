"""What replicas say to one another beside a stream, whichever engine carries it (wsguard/events/channel.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.contracts.reader import Reader
from tests.support.relay import FaultyRelay
from tests.support.waiting import eventually
from wsguard.events.channel import Channel
from wsguard.events.source import POLL, StreamAway
from wsguard.sessions.counts import MAX_MESSAGE


@pytest.fixture(params=[Redis, Nats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as running:
        yield running


async def heard(channel: Channel, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            document = await channel.hear()
            found += [document] if document is not None else []
    return found


async def test_all_hear_what_is_said_in_order_and_who_comes_later_does_not(engine: Engine) -> None:
    first, second, late = engine.channel(), engine.channel(), engine.channel()
    await first.open()
    await second.open()
    documents = [b"%d" % number for number in range(50)] + [b"x" * MAX_MESSAGE]
    for document in documents:
        await first.say(document)
    assert await heard(first, 51) == documents, "who speaks hears himself"
    assert await heard(second, 51) == documents
    await late.open()
    await second.say(b"news")
    assert await heard(late, 1) == [b"news"]
    started = time.monotonic()
    assert await late.hear() is None
    assert time.monotonic() - started < POLL + 5.0
    for channel in (first, second, late):
        await channel.close()


async def test_nothing_of_it_is_in_the_stream(engine: Engine) -> None:
    reader, channel = Reader(engine.stream()), engine.channel()
    await reader.to_the_end()
    await channel.open()
    await channel.say(b"1")
    await heard(channel, 1)
    await engine.add(b"event")
    assert await reader.until(1) == [b"event"]
    await channel.close()
    await reader.stream.close()


async def test_streams_of_other_names_hear_nothing(engine: Engine) -> None:
    if engine.source == "RedisStream":
        other = engine.channel(key="other")
        database = engine.channel(url=f"redis://127.0.0.1:{engine.port}/1")
        strangers = [other, database]
    else:
        strangers = [engine.channel(subject="other.events")]
    channel = engine.channel()
    for each in (channel, *strangers):
        await each.open()
    await channel.say(b"1")
    await heard(channel, 1)
    for each in strangers:
        await each.say(b"2")
        assert await heard(each, 1) == [b"2"]
    for each in (channel, *strangers):
        await each.close()


async def test_an_engine_that_dies_is_away_and_can_be_opened_again(engine: Engine) -> None:
    channel = engine.channel()
    with pytest.raises(StreamAway):
        await channel.say(b"too early")
    await channel.open()
    await engine.kill()
    with pytest.raises(StreamAway):
        await heard(channel, 1)
    with pytest.raises(StreamAway):
        await channel.open()
    await engine.start()
    await channel.open()
    await channel.say(b"1")
    assert await heard(channel, 1) == [b"1"]
    await channel.close()
    await channel.close()


async def test_a_link_that_is_cut_is_away(engine: Engine) -> None:
    async with FaultyRelay(engine.port) as relay:
        channel = engine.channel(port=relay.port)
        await channel.open()
        relay.reset()
        with pytest.raises(StreamAway):
            await heard(channel, 1)
        await channel.open()
        await channel.close()


async def test_a_connection_is_left_behind_by_nobody(engine: Engine) -> None:
    async with FaultyRelay(engine.port) as relay:
        channel = engine.channel(port=relay.port)
        for _ in range(5):
            await channel.open()
            await channel.say(b"1")
        await channel.close()
        await eventually(lambda: all(task.done() for task in relay.tasks), what="every connection has ended")


async def test_a_jetstream_that_would_store_it_is_not_spoken_into() -> None:
    async with Nats() as engine:
        stream = {"name": "EVERYTHING", "subjects": ["wsguard-counts.>"], "storage": "memory"}
        await eventually(lambda: engine.ask("$JS.API.STREAM.CREATE.EVERYTHING", stream))
        channel = engine.channel()
        with pytest.raises(StreamAway, match="the stream EVERYTHING stores what is published under wsguard-counts"):
            await channel.open()
        await channel.close()
