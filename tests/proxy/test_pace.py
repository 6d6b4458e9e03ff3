"""Who is waited for, and for how long."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from tests.support.waiting import eventually
from wsguard.proxy.pace import AWAY, ENOUGH, Pace, SlowClient


def body() -> StreamReader:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return StreamReader(protocol, 2**16, loop=loop)


async def test_the_backend_is_waited_for_while_it_takes_nothing() -> None:
    """With a part of the body in its hands it is its turn; a client that sends nothing is not its fault."""
    pace, stream = Pace(asyncio.get_running_loop(), 10.0, 0.05), body()

    async def asking(client_pauses: float) -> str:
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(client_pauses, stream.feed_data, b"x")
        assert await pace.read(stream) == b"x"
        await asyncio.sleep(0.2 if client_pauses == 0 else 0)
        return "answered"

    assert await pace.answer(asking(0.15)) == "answered"
    with pytest.raises(TimeoutError):
        await pace.answer(asking(0))


async def test_one_byte_now_and_then_is_too_slow() -> None:
    pace, stream = Pace(asyncio.get_running_loop(), 0.1, 0), body()

    async def drip() -> None:
        while True:
            stream.feed_data(b"x")
            await asyncio.sleep(0.03)

    dripping = asyncio.create_task(drip())
    with pytest.raises(SlowClient):
        await _take_all(pace, stream)
    dripping.cancel()
    assert pace.is_client_slow
    assert stream.total_bytes < 20


async def _take_all(pace: Pace, stream: StreamReader) -> None:
    while await pace.read(stream):
        pass


async def test_enough_bytes_buy_the_whole_time_again() -> None:
    pace, stream = Pace(asyncio.get_running_loop(), 0.2, 0), body()
    for _ in range(4):
        asyncio.get_running_loop().call_later(0.1, stream.feed_data, b"x" * ENOUGH)
        assert len(await pace.read(stream)) == ENOUGH


async def test_the_body_may_go_on_behind_the_answer() -> None:
    pace, stream = Pace(asyncio.get_running_loop(), 1.0, 0.05), body()

    async def asking() -> str:
        return "early"

    assert await pace.answer(asking()) == "early"
    stream.feed_data(b"x")
    assert await pace.read(stream) == b"x"
    await asyncio.sleep(0.1)


async def test_without_bounds() -> None:
    pace, stream = Pace(asyncio.get_running_loop(), 0, 0), body()
    asyncio.get_running_loop().call_later(0.1, stream.feed_eof)
    assert await pace.answer(pace.read(stream)) == b""


def freeze() -> None:
    """The guard is away: stopped, or starved."""
    time.sleep(AWAY + 0.2)


async def test_nobody_is_slow_while_the_guard_is_away() -> None:
    """Its timers come first when it is back, whatever has come meanwhile."""
    loop = asyncio.get_running_loop()
    pace, stream = Pace(loop, 0.1, 0), body()
    loop.call_later(0.02, freeze)
    loop.call_later(0.02 + AWAY + 0.25, stream.feed_data, b"x")
    assert await pace.read(stream) == b"x"
    assert not pace.is_client_slow
    with pytest.raises(SlowClient):
        await pace.read(stream)


class Reader:
    """A client that takes nothing of its answer, and the guard's end of its connection."""

    output_size = 100_000

    def __init__(self) -> None:
        self.waiting, self.is_gone = 100_000, False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_gone

    def get_extra_info(self, name: str) -> None:
        return None

    def abort(self) -> None:
        self.is_gone = True


async def test_nor_is_who_reads_again_when_the_guard_is_back() -> None:
    loop, client = asyncio.get_running_loop(), Reader()
    watch = Pace(loop, 0.2, 0).watch(cast("asyncio.Transport", client), cast("Any", client))
    loop.call_later(0.02, freeze)
    loop.call_later(0.02 + AWAY + 0.25, setattr, client, "waiting", 50_000)
    await asyncio.sleep(0.02 + AWAY + 0.3)
    assert not client.is_gone
    await eventually(lambda: client.is_gone, what="the end of who reads nothing any more")
    watch.end()
