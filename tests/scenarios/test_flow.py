"""A guard that is held to what its policy says of what flows: giants, floods, and those who never read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import pytest_asyncio

from tests.scenarios.conftest import Standing
from tests.scenarios.measures import PER_DIRECTION, resident
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.waiting import eventually
from tests.support.wire import Head

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICIES = {
    "limits": """
      messages: {perConnection: {requests: 50, unit: Second, burst: 100}}
      maxMessageSize: 64Ki
      messageTypes: [Text]
    """,
    "held": """
      messages: {perConnection: {requests: 200, unit: Second, burst: 20}, onExceed: Throttle}
    """,
    "slow": """
      slowConsumer: {maxPause: 1s}
    """,
}
TEXT = wire.frame(wire.TEXT, b"hello")


def document(name: str, limits: str, enforcement: str = "Enforce") -> str:
    return f"""
apiVersion: wsguard.dev/v1
kind: WebSocketPolicy
metadata: {{name: {name}}}
spec:
  match: {{paths: [{{type: Exact, value: /{name}}}]}}
  enforcement: {enforcement}
  rejection: {{closeTimeout: 1s}}
  limits:
{limits}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def standing_pair() -> AsyncIterator[Standing]:
    """One guard, with a policy for each path."""
    texts = {f"{name}.yaml": document(name, limits) for name, limits in POLICIES.items()}
    texts["audited.yaml"] = document("audited", POLICIES["limits"], "Audit")
    async with RecordingBackend() as backend, Guard(backend, texts) as guard:
        yield Standing(guard, backend)


@asynccontextmanager
async def tunnel(
    standing: Standing, path: str, receive_buffer: int | None = None
) -> AsyncIterator[tuple[Guard, RawClient, Conversation]]:
    guard, backend = standing
    async with connect(guard.port, receive_buffer=receive_buffer) as client:
        await client.open(wire.upgrade(f"/{path}"))
        yield guard, client, await backend.conversation()


async def test_a_frame_that_declares_a_gibibyte(standing: Standing) -> None:
    """Not a byte of it arrives, and nobody waits for it."""
    async with tunnel(standing, "limits") as (guard, client, conversation):
        await client.send(TEXT + wire.frame(wire.TEXT, declared=2**30) + bytes(300_000))
        assert await client.close_frame() == (1009, "message-too-big")
        assert (await conversation.frame()).payload == b"hello"
        assert (await conversation.frame()).close == (1001, "message-too-big")
        line = await guard.ended()
        assert (line["reason"], line["code"], line["initiator"]) == ("message-too-big", 1009, "guard")
        assert line["detail"] == "the client sent a message of more than 65536 bytes"
        counted = await guard.metric("wsguard_connections_closed_total", reason="message-too-big", policy="limits")
        assert counted == 1


async def test_a_giant_in_fragments(standing: Standing) -> None:
    """With pings between them, slowly enough for the rate: what fits arrives, the rest does not."""
    part = wire.frame(wire.CONTINUATION, bytes(16_384), fin=False)
    async with tunnel(standing, "limits") as (guard, client, conversation):
        await client.send(wire.frame(wire.TEXT, bytes(16_384), fin=False) + wire.frame(wire.PING, b"p") + part * 3)
        await eventually(lambda: len(conversation.tail) > 4 * 16_384)
        assert await guard.connections() != []
        with suppress(ConnectionError):
            await client.send(part * 50)
        assert await client.close_frame() == (1009, "message-too-big")
        sizes = []
        while (frame := await conversation.frame()).opcode != wire.CLOSE:
            sizes.append(len(frame.payload))
        assert sizes == [16_384, 1, 16_384, 16_384, 16_384]


async def test_a_flood_of_frames(standing: Standing) -> None:
    """A hundred at once are allowed; pongs count."""
    async with tunnel(standing, "limits") as (guard, client, conversation):
        with suppress(ConnectionError):
            await client.send(TEXT * 60 + wire.frame(wire.PONG) * 5_000)
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (4429, "message-rate")
        assert "retry-after=" in reason
        passed = 0
        while (await conversation.frame()).opcode != wire.CLOSE:
            passed += 1
        assert 100 <= passed <= 110
        assert (await guard.ended())["reason"] == "message-rate"


async def test_binary_where_text_is_spoken(standing: Standing) -> None:
    async with tunnel(standing, "limits") as (_, client, conversation):
        await client.send(TEXT + wire.frame(wire.BINARY, b"x"))
        assert await client.close_frame() == (1003, "message-type-denied")
        assert (await conversation.frame()).payload == b"hello"
        assert (await conversation.frame()).close == (1001, "message-type-denied")


async def test_audit_records_each_once_and_passes_all(standing: Standing) -> None:
    sent = TEXT * 500 + wire.frame(wire.BINARY, bytes(100_000)) * 2
    async with tunnel(standing, "audited") as (guard, client, conversation):
        await client.send(sent)
        await eventually(lambda: len(conversation.tail) >= len(sent), what="everything at the backend")
        assert conversation.tail == sent
        await guard.log({"event": "cut_spared"}, count=3)
        spared = [line["reason"] for line in guard.logs if line["event"] == "cut_spared"]
        assert sorted(spared) == ["message-rate", "message-too-big", "message-type-denied"]


async def test_a_client_that_is_held_back_loses_nothing_and_costs_little(standing: Standing) -> None:
    """200 a second, in order; what it sends meanwhile waits in the kernels, not in the guard."""
    async with tunnel(standing, "held") as (guard, client, conversation):
        frames = [wire.frame(wire.TEXT, f"{number}".encode()) for number in range(140)]
        began = time.monotonic()
        await client.send(b"".join(frames))
        numbers = [int((await conversation.frame()).payload) for _ in frames]
        assert numbers == list(range(140))
        assert 0.5 < time.monotonic() - began < 9.0
        empty = resident(guard)
        flood = asyncio.create_task(client.send(wire.frame(wire.TEXT, bytes(100)) * 200_000))  # 21 MB
        await asyncio.sleep(0.5)
        assert resident(guard) - empty < 2 * PER_DIRECTION
        flood.cancel()
        await guard.log({"event": "connection_throttled"})
        throttled = [line for line in guard.logs if line["event"] == "connection_throttled"]
        assert [(line["reason"], line["policy"]) for line in throttled] == [("message-rate", "held")]
        assert await guard.metric("wsguard_connections_throttled_total", reason="message-rate") == 1
        client.reset()


async def test_nobody_feels_those_who_never_read(standing: Standing) -> None:
    """50 of them are cut, and their memory is free again; who reads beside them reads on."""
    guard, backend = standing
    chunk = wire.frame(wire.BINARY, bytes(60_000), masked=False)

    async def flood(conversation: Conversation, head: Head) -> None:
        conversation.writer.transport.set_write_buffer_limits(high=0)
        await conversation.send(answers.switching(head))
        with suppress(ConnectionError):
            for _ in range(300):
                await conversation.send(chunk)

    backend.answer = answers.accept(echo=True)
    async with connect(guard.port) as honest, AsyncExitStack() as stack:
        await honest.open(wire.upgrade("/slow"))
        backend.answer = flood
        empty, slowest = resident(guard), 0.0
        for _ in range(50):
            client = await stack.enter_async_context(connect(guard.port, receive_buffer=4096))
            await client.send(wire.upgrade("/slow"))
        most = 0
        deadline = time.monotonic() + 30
        while await guard.metric("wsguard_connections", policy="slow") != 1:
            began = time.monotonic()
            await honest.send(TEXT)
            assert (await honest.frame()).payload == b"hello"
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, resident(guard) - empty)
            assert time.monotonic() < deadline, "they are still there"
        assert slowest < 3.0
        assert most < 50 * PER_DIRECTION
        await guard.log({"event": "connection_closed"}, count=50)
        ends = [line for line in guard.logs if line["event"] == "connection_closed"]
        assert [line["reason"] for line in ends] == ["slow-consumer"] * 50
        assert {line["detail"] for line in ends} == {"the client has not read for 1 s"}
        assert max(line["duration"] for line in ends) < 20.0
