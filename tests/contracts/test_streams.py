"""What the bus may expect of a stream, whichever engine keeps it (wsguard/events/source.py)."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.contracts.reader import Reader
from tests.support.programs import Program
from tests.support.relay import FaultyRelay
from wsguard.events.source import BATCH, PATIENCE, POLL, Entry, Stream, StreamAway
from wsguard.sessions.events import parse

PAGE = Path(__file__).parents[2] / "docs/session-events.md"


@pytest.fixture(params=[Redis, Nats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as running:
        yield running


@pytest.fixture
async def reader(engine: Engine) -> AsyncIterator[Reader]:
    stream = engine.stream()
    yield Reader(stream)
    await stream.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read waits for something new for so long that nobody can mistake it for a busy machine."""
    for module in ("redis_stream", "nats_stream"):
        monkeypatch.setattr(f"wsguard.events.{module}.POLL", 0.9 * PATIENCE)


@pytest.mark.usefixtures("patient")
async def test_an_empty_stream_is_read_at_once(reader: Reader) -> None:
    started = time.monotonic()
    assert await reader.to_the_end() == []
    assert time.monotonic() - started < 0.7 * PATIENCE, "who starts does not wait for something new"
    assert not reader.gaps


async def test_what_is_appended_is_read_by_every_replica_in_order(engine: Engine, reader: Reader) -> None:
    other = Reader(engine.stream())
    await other.to_the_end()
    documents = [b"%d" % number for number in range(20)]
    for document in documents:
        await reader.stream.append(document)
    assert await reader.until(20) == documents
    assert await other.until(20) == documents
    assert not reader.gaps + other.gaps
    await other.stream.close()


@pytest.mark.usefixtures("patient")
async def test_one_that_waits_is_woken(reader: Reader) -> None:
    await reader.to_the_end()
    waiting = asyncio.create_task(reader.until(1))
    await asyncio.sleep(0.3)
    appended = time.monotonic()
    await reader.stream.append(b"news")
    await waiting
    assert time.monotonic() - appended < 0.7 * PATIENCE


async def test_a_script_publishes_with_the_command_that_the_page_shows(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    command = {"RedisStream": "redis-cli", "NATSJetStream": "nats"}[engine.source]
    line = re.search(rf"^{command} .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert line is not None
    words = shlex.split(line[0])
    if command == "redis-cli":
        async with Program("redis-cli", "-p", str(engine.port), *words[1:]) as client:
            assert await client.wait() == 0
    else:  # Debian has no `nats`; it publishes its last word under its last but one
        assert words[:3] == ["nats", "pub", "wsguard.events"]
        await engine.add(words[3].encode())
    (document,) = await reader.until(1)
    parse(document, "1", time.time())


async def test_more_than_a_batch_is_read_back(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    count = BATCH + BATCH // 2
    for first in range(0, count, 50):
        await asyncio.gather(*(reader.stream.append(b"%d" % number) for number in range(first, first + 50)))
    late = Reader(engine.stream())
    assert sorted(await late.to_the_end(), key=int) == [b"%d" % number for number in range(count)]
    assert not late.gaps
    await late.stream.close()


async def test_entries_are_as_old_as_they_are(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    first = time.time()
    await reader.stream.append(b"old")
    second = time.time()
    await asyncio.sleep(1.1)
    middle = time.time()
    await reader.stream.append(b"new")
    old, new = await entries(reader, 2)
    assert first - 0.1 < old.stored_at < second + 0.1
    assert middle - 0.1 < new.stored_at
    late = Reader(engine.stream(since=middle - 0.5))
    assert await late.to_the_end() == [b"new"]
    assert not late.gaps, "nobody took anything away"
    await late.stream.close()


async def entries(reader: Reader, count: int) -> list[Entry]:
    found: list[Entry] = []
    while len(found) < count:
        found += (await reader.stream.read()).entries
    return found


async def test_an_engine_that_dies_comes_back_with_all_of_it(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    await reader.stream.append(b"1")
    await reader.to_the_end()
    await engine.kill()
    with pytest.raises(StreamAway):
        await reader.stream.append(b"lost")
    with pytest.raises(StreamAway):
        await reader.to_the_end()
    await engine.start()
    await engine.add(b"2")
    await reader.through_an_outage()
    assert await reader.until(2) == [b"1", b"2"]
    assert not reader.gaps


async def test_an_engine_that_comes_back_without_its_data_is_a_gap(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    await reader.stream.append(b"1")
    await reader.to_the_end()
    await engine.kill()
    for folder in engine.folder.iterdir():
        shutil.rmtree(folder)
    await engine.start()
    await reader.through_an_outage()
    await reader.to_the_end()
    assert len(reader.gaps) == 1
    await reader.stream.append(b"2")
    assert await reader.until(2) == [b"1", b"2"]


async def test_a_link_that_is_cut_loses_nothing(engine: Engine) -> None:
    async with FaultyRelay(engine.port) as relay:
        reader = Reader(engine.stream(port=relay.port))
        await reader.to_the_end()
        relay.reset()
        await engine.add(b"1")
        await reader.through_an_outage()
        assert await reader.until(1) == [b"1"]
        assert not reader.gaps
        await reader.stream.close()


async def test_a_link_that_swallows_everything_is_noticed(engine: Engine) -> None:
    async with FaultyRelay(engine.port) as relay:
        reader = Reader(engine.stream(port=relay.port))
        await reader.to_the_end()
        relay.swallow()
        silent = time.monotonic()
        with pytest.raises(StreamAway):
            await reader.for_seconds(10 * (POLL + PATIENCE))
        print(f"noticed after {time.monotonic() - silent:.1f} s")
        relay.release()  # the connections of before stay silent
        await engine.add(b"1")
        await reader.through_an_outage()
        assert await reader.until(1) == [b"1"]
        await reader.stream.close()


async def test_what_was_read_may_go(engine: Engine, reader: Reader) -> None:
    for _ in range(3):
        await reader.to_the_end()
        await reader.stream.append(b"x")
        await reader.to_the_end()
        await engine.trim(0)
    await reader.to_the_end()
    await reader.stream.append(b"y")
    await reader.until(4)
    assert not reader.gaps


async def test_what_was_not_read_and_is_gone_is_a_gap(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    for document in (b"1", b"2", b"3"):
        await engine.add(document)
    await engine.trim(1)
    await reader.until(1)
    await reader.to_the_end()
    assert reader.documents == [b"3"]
    assert len(reader.gaps) == 1


async def test_a_stream_that_vanished_is_a_gap(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    await reader.stream.append(b"1")
    await reader.until(1)
    await engine.drop()
    await reader.to_the_end()
    await reader.to_the_end()
    assert len(reader.gaps) == 1
    await reader.stream.append(b"2")
    assert await reader.until(2) == [b"1", b"2"]
    assert len(reader.gaps) == 1


async def test_a_stream_made_anew_and_longer_is_a_gap_and_read_whole(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    await reader.stream.append(b"1")
    await reader.until(1)
    other = engine.stream()
    await engine.drop()
    for document in (b"2", b"3", b"4"):
        await other_append(other, document)
    await reader.until(4)
    assert reader.documents == [b"1", b"2", b"3", b"4"]
    assert len(reader.gaps) == 1
    await other.close()


async def other_append(stream: Stream, document: bytes) -> None:
    await Reader(stream).to_the_end()
    await stream.append(document)


async def test_trimming_inside_the_window_is_a_gap_at_the_start(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    for document in (b"1", b"2", b"3"):
        await engine.add(document)
    await engine.trim(2)
    late = Reader(engine.stream(since=time.time() - 600))
    assert await late.to_the_end() == [b"2", b"3"]
    assert len(late.gaps) == 1
    await late.stream.close()


async def test_trimming_before_the_window_is_none(engine: Engine, reader: Reader) -> None:
    await reader.to_the_end()
    for document in (b"1", b"2"):
        await engine.add(document)
    await engine.trim(1)
    await asyncio.sleep(1.1)
    late = Reader(engine.stream(since=time.time() - 0.5))
    for _ in range(3):
        assert await late.to_the_end() == []
    await engine.add(b"3")
    assert await late.until(1) == [b"3"]
    await late.to_the_end()
    assert not late.gaps
    await late.stream.close()
