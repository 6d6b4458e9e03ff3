"""Clients that never finish or that vanish at every step: each ends, nothing is left of it, and the guard lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.scenarios.conftest import Standing, stands
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import connect
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually
from tests.support.wire import Head

QUICK = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  listener: {handshakeTimeout: 1s}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hurried_pair() -> AsyncIterator[Standing]:
    """For `hurried` only."""
    files = {"guard.yaml": QUICK, "policy.yaml": policy()}
    async with RecordingBackend() as backend, Guard(backend, files) as guard:
        yield Standing(guard, backend)


@pytest_asyncio.fixture(loop_scope="module")
async def hurried(hurried_pair: Standing) -> Standing:
    """A guard that waits a second for a handshake, and what echoes behind it; nothing of the test before is left."""
    hurried_pair.backend.reset()
    hurried_pair.backend.answer = answers.accept(echo=True)
    await eventually(hurried_pair.guard.is_idle, what="the test before has left nothing open")
    return hurried_pair


async def _is_well(guard: Guard) -> None:
    """A new client gets through, and nothing of the old ones is left."""
    async with connect(guard.port) as client:
        await client.open(wire.upgrade())
        await client.send(wire.close_frame(1000))
        await client.close_frame()
    await eventually(lambda: _none(guard), what="no connection is left")


async def _none(guard: Guard) -> bool:
    return await guard.metric("wsguard_connections") == 0


@pytest.mark.parametrize("sent", [0, 1, 3, 20, 60, -1])
@stands
async def test_a_handshake_that_never_ends_is_ended(hurried: Standing, sent: int) -> None:
    """Some of a head, then nothing: the connection is closed when handshakeTimeout is up."""
    guard, backend = hurried
    async with connect(guard.port) as client:
        await client.send(wire.upgrade()[:sent])
        await client.rest()
        assert b" 101 " not in client.received
    assert not backend.requests
    await _is_well(guard)


@stands
async def test_a_handshake_that_drips_is_ended(hurried: Standing) -> None:
    """A byte now and then keeps nothing alive."""
    guard, backend = hurried
    async with connect(guard.port) as client:
        dripping = asyncio.create_task(_drip_for_ever(client.writer))
        await client.rest()
        dripping.cancel()
    assert not backend.requests
    await _is_well(guard)


async def _drip_for_ever(writer: asyncio.StreamWriter) -> None:
    writer.write(wire.upgrade()[:-2])
    while not writer.is_closing():
        writer.write(b"X: a\r\n")
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("end", ["fin", "rst", "half-close"])
@pytest.mark.parametrize("sent", [1, 30, -3])
@stands
async def test_a_client_that_vanishes_in_its_handshake(standing: Standing, sent: int, end: str) -> None:
    """Nothing reaches the backend."""
    guard, backend = standing
    backend.answer = answers.accept(echo=True)
    async with connect(guard.port) as client:
        await client.send(wire.upgrade()[:sent])
        if end == "rst":
            client.reset()
        elif end == "half-close":
            client.half_close()
            await client.rest()
    assert not backend.requests
    await _is_well(guard)


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_client_that_vanishes_during_the_dial(backend: RecordingBackend, end: str) -> None:
    """The backend's connection ends too, and the record says who left."""
    released = asyncio.Event()

    async def answer(conversation: Conversation, head: Head) -> None:
        while await conversation.receive():
            pass
        released.set()

    backend.answer = answer
    async with Guard(backend) as guard:
        async with connect(guard.port) as client:
            await client.send(wire.upgrade())
            await backend.conversation()
            if end == "rst":
                client.reset()
        await asyncio.wait_for(released.wait(), 10)
        assert (await guard.decided())["reason"] == "client-lost"
        backend.answer = answers.accept(echo=True)
        await _is_well(guard)


@pytest.mark.parametrize("end", ["fin", "rst", "mid-frame"])
async def test_a_client_that_vanishes_in_its_conversation(backend: RecordingBackend, end: str) -> None:
    """No Close is invented: the backend sees its own connection end, the record says client-lost."""
    async with Guard(backend) as guard:
        async with connect(guard.port) as client:
            await client.open(wire.upgrade())
            conversation = await backend.conversation()
            whole = wire.frame(wire.TEXT, b"hello")
            await client.send(whole + (wire.frame(wire.BINARY, b"x" * 1000)[:500] if end == "mid-frame" else b""))
            await eventually(lambda: len(conversation.tail) >= len(whole))
            if end == "rst":
                client.reset()
        await conversation.until_ended()
        line = await guard.ended()
        assert (line["reason"], line["initiator"], "code" in line) == ("client-lost", "client", False)
        frames = [frame async for frame in _frames(conversation)]
        assert [frame.opcode for frame in frames] == [wire.TEXT]
        backend.answer = answers.accept(echo=True)
        await _is_well(guard)


async def _frames(conversation: Conversation):  # type: ignore[no-untyped-def]
    while frame := wire.take_frame(conversation.tail):
        yield frame


@pytest.mark.parametrize("how", ["reads nothing", "closes at once", "resets at once"])
async def test_a_refused_client_that_does_not_behave(backend: RecordingBackend, how: str) -> None:
    """It is not waited for longer than closeTimeout."""
    async with Guard(backend, policy(JWT + "rejection: {closeTimeout: 500ms}")) as guard:
        async with connect(guard.port) as client:
            await client.send(wire.upgrade())
            if how == "resets at once":
                client.reset()
            elif how == "reads nothing":
                await guard.decided(result="refused")
                await client.send(wire.frame(wire.TEXT, b"talks on"))
                await eventually(lambda: _lingering(guard))
        await eventually(lambda: _lingering(guard))
    assert not backend.requests


async def _lingering(guard: Guard, count: int = 0) -> bool:
    return await guard.metric("wsguard_refusals_lingering") == count


async def test_a_refusal_survives_what_the_client_has_sent(backend: RecordingBackend) -> None:
    """Closing over unread input would send an RST, which can eat the Close frame: the guard reads on and discards."""
    async with Guard(backend, policy(JWT)) as guard:
        for _ in range(20):
            async with connect(guard.port) as client:
                await client.send(wire.upgrade() + wire.frame(wire.BINARY, b"x" * 60_000) * 20)
                await client.head()
                assert await client.close_frame() == (4401, "credential-missing")
                assert await client.rest() == b""  # a clean FIN
    assert not backend.requests


async def test_beyond_max_lingering_a_refusal_is_a_plain_status(backend: RecordingBackend) -> None:
    """Refused clients that never answer cannot pile up."""
    spec = JWT + "rejection: {maxLingering: 3, closeTimeout: 30s}"
    async with (
        Guard(backend, policy(spec)) as guard,
        connect(guard.port) as first,
        connect(guard.port) as second,
        connect(guard.port) as third,
    ):
        for client in (first, second, third):
            await client.open(wire.upgrade())
        async with connect(guard.port) as fourth:
            await fourth.send(wire.upgrade())
            assert (await fourth.head()).status in (429, 503)
        await first.close_frame()
        await first.rest()
        await first.close()
        await eventually(lambda: _lingering(guard, 2))
        async with connect(guard.port) as fifth:
            await fifth.open(wire.upgrade())
            assert (await fifth.close_frame())[0] == 4401


async def test_a_thousand_half_open_handshakes_harm_nobody(backend: RecordingBackend) -> None:
    """They wait, others get through, and their time is up."""
    backend.answer = answers.accept(echo=True)
    async with Guard(backend, {"guard.yaml": QUICK, "policy.yaml": policy()}) as guard:
        pairs = [await asyncio.open_connection("127.0.0.1", guard.port) for _ in range(1000)]
        for _, writer in pairs:
            writer.write(wire.upgrade()[:50])
        await _is_well(guard)
        for reader, _ in pairs:
            await asyncio.wait_for(reader.read(-1), 10)
        for _, writer in pairs:
            writer.close()
