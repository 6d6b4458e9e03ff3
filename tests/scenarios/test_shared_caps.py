"""Caps over several real guards that share an engine: in total, without the engine, and after a guard was killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.contracts.engines import Engine, Nats, Redis
from tests.scenarios.replicas import Socket, events, token_of, verdict
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

FULL = "too-many-connections"
CAPS = f"{JWT}\nlimits: {{connections: {{total: 4, perSubject: 2}}}}\n"


@pytest.fixture(params=[Redis, Nats], ids=["redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as running:
        yield running


async def replicas(stack: AsyncExitStack, backend: RecordingBackend, engine: Engine, count: int) -> list[Guard]:
    """Guards that hear one another."""
    files = {"policy.yaml": policy(CAPS), "guard.yaml": events(engine.spec())}
    guards = [Guard(backend, files) for _ in range(count)]
    await asyncio.gather(*(stack.enter_async_context(guard) for guard in guards))
    for guard in guards:
        await eventually(lambda guard=guard: _hears(guard, count - 1), what="they hear one another")  # type: ignore[misc]
    return guards


async def _hears(guard: Guard, count: int) -> bool:
    return await guard.metric("wsguard_shared_counts_replicas") == count


async def _refuses(guard: Guard, token: str) -> bool:
    return await _says(guard, token, FULL)


async def _has_heard_two(guard: Guard) -> bool:
    """Asked again until it knows: it may remember what it had heard before the engine went away, or nothing yet."""
    await _refuses(guard, token_of("alice"))
    said = [line.get("detail") for line in guard.logs if line["event"] == "handshake"]
    return "limits.connections.perSubject is 2 (2 at other replicas)" in said


async def _admits(guard: Guard, token: str) -> bool:
    return await _says(guard, token, "open")


async def _says(guard: Guard, token: str, word: str) -> bool:
    if await verdict(guard, token) == word:
        return True
    await asyncio.sleep(0.3)  # a handshake costs more than a look
    return False


async def test_the_cap_is_one_while_the_engine_carries_and_each_has_its_own_while_not(
    engine: Engine, backend: RecordingBackend
) -> None:
    backend.answer = answers.accept(echo=True)
    async with AsyncExitStack() as stack:
        first, second = await replicas(stack, backend, engine, 2)
        alice = [await Socket(guard, token_of("alice")).open() for guard in (first, second)]
        for guard in (first, second):
            await eventually(lambda guard=guard: _refuses(guard, token_of("alice")), what="alice has her two")  # type: ignore[misc]
            await guard.decided(reason=FULL, detail="limits.connections.perSubject is 2 (1 at other replicas)")
        assert await verdict(second, token_of("bob")) == "open", "which is not for others"
        await engine.kill()
        await second.log({"event": "shared_counts", "up": False, "level": "warning"})
        assert await second.metric("wsguard_shared_counts_up") == 0
        await eventually(lambda: _hears(second, 0), what="the last word has expired")
        alice.append(await Socket(second, token_of("alice")).open())
        assert await verdict(second, token_of("alice")) == FULL, "its own are counted as ever"
        assert alice[-1].is_open
        await engine.start()
        await second.log({"event": "shared_counts", "up": True}, count=2)
        await eventually(lambda: _hears(first, 1), what="shared again")
        first.forget()
        await eventually(lambda: _has_heard_two(first), what="two of hers are elsewhere, and one here")
        second.program.process.kill()
        await second.program.wait()
        await eventually(lambda: _admits(first, token_of("alice")), what="the dead one is not heard any more")
        assert await first.metric("wsguard_shared_counts_messages_total", result="ignored") == 0
        assert await first.metric("wsguard_session_events_total", result="skipped") == 0


@pytest.mark.extended
async def test_a_burst_on_three_at_once_is_bounded_by_the_cap_of_each(
    engine: Engine, backend: RecordingBackend
) -> None:
    backend.answer = answers.accept(echo=True)
    async with AsyncExitStack() as stack:
        guards = await replicas(stack, backend, engine, 3)
        burst = [Socket(guard, token_of(f"u{i}")) for i in range(6) for guard in guards]
        await asyncio.gather(*(socket.open() for socket in burst))
        await eventually(lambda: _handshakes(guards, len(burst)), what="every handshake is decided")
        admitted = [await guard.metric("wsguard_connections") for guard in guards]
        print(f"admitted: {admitted}, of a cap of 4")
        assert 4 <= sum(admitted) <= 3 * 4
        for guard in guards:
            await eventually(lambda guard=guard: _refuses(guard, token_of("late")), what="nobody more")  # type: ignore[misc]


async def _handshakes(guards: list[Guard], count: int) -> bool:
    return sum([await guard.metric("wsguard_handshakes_total") for guard in guards]) >= count
