"""Nobody can make the guard hold what they do not read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.scenarios.measures import PER_DIRECTION, resident
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.wire import Head

CLIENTS = 500


async def _settled(total: list[int]) -> int:
    """The sum of `total` once it has stopped growing for a second."""
    before = -1
    while sum(total) != before:
        before = sum(total)
        await asyncio.sleep(1.0)
    return before


async def test_500_stalled_clients_cost_a_bounded_memory(backend: RecordingBackend) -> None:
    """A backend floods clients that read nothing: it is held back, and memory does not grow any more."""
    chunk = wire.frame(wire.BINARY, b"x" * 65_000, masked=False)
    sent: list[int] = []

    async def flood(conversation: Conversation, head: Head) -> None:
        conversation.writer.transport.set_write_buffer_limits(high=0)
        await conversation.send(answers.switching(head))
        number = len(sent)
        sent.append(0)
        for _ in range(200):  # 13 MB each, if nobody stops it: 6.5 GB in all
            await conversation.send(chunk)
            sent[number] += len(chunk)

    backend.answer = flood
    async with Guard(backend) as guard, AsyncExitStack() as stack:
        empty = resident(guard)
        for _ in range(CLIENTS):
            client = await stack.enter_async_context(connect(guard.port, receive_buffer=4096))
            await client.send(wire.upgrade())
        await _settled(sent)
        full = resident(guard)
        assert full - empty < CLIENTS * PER_DIRECTION
        await asyncio.sleep(2.0)
        assert resident(guard) - full < 4 * 2**20
        assert await guard.metric("wsguard_connections") == CLIENTS
        async with connect(guard.port) as client:  # and it still serves
            await client.open(wire.upgrade())
            assert (await client.frame()).payload == b"x" * 65_000


@pytest.mark.parametrize("lost", ["client", "backend"])
async def test_a_stalled_backend_holds_its_client_back(backend: RecordingBackend, lost: str) -> None:
    """The other direction; and a connection that is lost while it waits is freed."""
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        conversation.stop_reading()
        empty = resident(guard)
        sending = asyncio.create_task(_pour(client, sent := [0]))
        poured = await _settled(sent)
        assert poured < 40_000_000  # what kernels hold on the way, far from the 200 MB on offer
        assert resident(guard) - empty < 4 * PER_DIRECTION
        if lost == "client":  # whose reading is paused: nobody can see that it left before the backend reads on
            client.reset()
            conversation.resume_reading()
        else:
            conversation.reset()
        await asyncio.gather(sending, return_exceptions=True)
        line = await guard.ended()
        assert line["reason"] == f"{lost}-lost"
        assert await guard.connections() == []


async def test_a_stalled_backend_that_reads_on_gets_everything(backend: RecordingBackend) -> None:
    """Pausing loses nothing."""
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        conversation.stop_reading()
        sending = asyncio.create_task(_pour(client, sent := [0], 30_000_000))
        await _settled(sent)
        conversation.resume_reading()
        for _ in range(30_000_000 // 100_000):
            assert (await conversation.frame()).payload == b"y" * 100_000
        await sending


async def _pour(client: RawClient, sent: list[int], total: int = 200_000_000) -> None:
    client.writer.transport.set_write_buffer_limits(high=0)
    for _ in range(total // 100_000):
        await client.send(wire.frame(wire.BINARY, b"y" * 100_000))
        sent[0] += 100_000
