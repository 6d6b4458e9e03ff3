"""A real guard with limits at the door: floods at once and from those who vanish, and the oldest that makes room."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually
from tests.support.wire import Head

BEHIND_A_PROXY = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  clientIPDetection: {xForwardedFor: {trustedCIDRs: [127.0.0.0/8]}}
"""


def limits(text: str) -> dict[str, str]:
    return {"guard.yaml": BEHIND_A_PROXY, "policy.yaml": policy(f"limits: {{{text}}}")}


def handshake(address: str = "192.0.2.1") -> bytes:
    return wire.upgrade(fields=[("X-Forwarded-For", address)])


async def _slowly(conversation: Conversation, head: Head) -> None:
    await asyncio.sleep(0.5)
    await answers.accept(echo=True)(conversation, head)


async def _word(client: RawClient) -> str | None:
    """What the client was refused with; None: it was let in, and has its echo."""
    await client.open(handshake())
    await client.send(wire.frame(wire.TEXT, b"hello"))
    frame = await client.frame()
    return None if frame.opcode == wire.TEXT else frame.close[1]


async def test_fifty_at_once_and_ten_places(backend: RecordingBackend) -> None:
    """Exactly ten get in; those who left in the middle of their handshake have left no place taken."""
    backend.answer = _slowly
    async with Guard(backend, limits("connections: {total: 10}")) as guard, AsyncExitStack() as stack:
        for _ in range(30):
            async with connect(guard.port) as client:
                await client.send(handshake())
                client.reset()
        await eventually(lambda: _decided(guard, 30), what="thirty that left")
        clients = [await stack.enter_async_context(connect(guard.port)) for _ in range(50)]
        words = await asyncio.gather(*map(_word, clients))
        assert words.count(None) == 10
        assert all(word.startswith("too-many-connections retry-after=") for word in words if word is not None)
        assert await guard.metric("wsguard_connections") == 10
        refused = await guard.metric("wsguard_handshakes_total", reason="too-many-connections", result="refused")
        assert refused >= 40
        line = await guard.decided(reason="too-many-connections", code=4429)
        assert line["detail"] == "limits.connections.total is 10"


async def _decided(guard: Guard, count: int) -> bool:
    return await guard.metric("wsguard_handshakes_total") >= count


async def test_the_oldest_is_closed_and_the_rate_is_kept(backend: RecordingBackend) -> None:
    backend.answer = answers.accept(echo=True)
    text = (
        "connections: {perClientIP: 1, onExceed: CloseOldest}, "
        "handshakes: {perClientIP: {requests: 2, unit: Hour}}, compression: Deny"
    )
    async with (
        Guard(backend, limits(text)) as guard,
        connect(guard.port) as old,
        connect(guard.port) as new,
        connect(guard.port) as third,
    ):
        assert await _word(old) is None
        assert await _word(new) is None
        code, reason = await old.close_frame()
        assert (code, reason.split()[0]) == (4429, "too-many-connections")
        await guard.ended(reason="too-many-connections", initiator="guard")
        await third.open(handshake())
        code, reason = await third.close_frame()
        word, wait = reason.split(" retry-after=")
        assert (code, word) == (4429, "handshake-rate")
        assert float(wait) > 1_700
        await guard.decided(reason="handshake-rate")
