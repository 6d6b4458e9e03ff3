"""Who does not read is cut when it takes too long, and nobody else feels it."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest

from tests.proxy.fakes import Bench
from tests.proxy.tunnel import GRACE, QUICK, record, stall, text, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.model import Enforcement, Limits, PolicySpec, SlowConsumer
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.tcp import GONE

LONG = wire.frame(wire.BINARY, bytes(100_000), masked=False)
PAUSE = Limits(slow_consumer=SlowConsumer(max_pause=5))


def bench(limits: Limits = PAUSE) -> Bench:
    return Bench(PolicySpec(limits=limits))


def judge(at: Bench) -> None:
    """Look, and once more behind the turn of the loop that comes before a cut."""
    at.loop.wake("_look")
    at.loop.wake("_look")


def test_a_pause_that_is_too_long_is_the_end() -> None:
    at = bench()
    at.client.stalled = True
    at.backend.arrive(LONG)
    at.now += 4.9
    at.loop.wake("_look")
    assert at.splice.state == "open"
    assert at.loop.timers[-1].when == pytest.approx(0.1)
    at.now += 0.1
    judge(at)
    assert at.splice.state == "closing"
    assert wire.take_frame(bytearray(at.to_backend)).close == (1001, "slow-consumer")  # type: ignore[union-attr]
    at.loop.fire()
    assert at.client.aborted
    for transport in (at.client, at.backend):
        transport.lose(None)
    cause, delivery, _ = at.end
    assert (cause.reason.token, cause.code, delivery) == ("slow-consumer", 1013, "undelivered")
    assert cause.detail == "the client has not read for 5 s"
    assert all(timer.call is None for timer in at.loop.timers)


def test_pauses_that_end_in_time_may_come_by_the_thousand() -> None:
    """One timer is enough for them."""
    at = bench()
    for _ in range(1000):
        at.client.stalled = True
        at.backend.arrive(LONG)
        at.now += 1.0
        at.client.unstall()
    assert len(at.loop.timers) == 1
    at.loop.wake("_look")
    assert at.splice.state == "open"
    assert len(at.loop.timers) == 1
    at.client.stalled = True
    at.backend.arrive(LONG)
    assert len(at.loop.timers) == 2


def test_a_backend_that_does_not_read_is_one_too() -> None:
    at = bench()
    at.backend.stalled = True
    at.client.arrive(wire.frame(wire.BINARY, bytes(100_000)))
    at.now += 5
    judge(at)
    assert wire.take_frame(bytearray(at.to_client)).close == (1013, "slow-consumer")  # type: ignore[union-attr]


@pytest.mark.parametrize("pause", [None, 0.5, 30])
@pytest.mark.parametrize("size", [60_000, 100_000])
def test_too_much_is_kept_for_no_longer_than_a_moment(pause: float | None, size: int) -> None:
    at = bench(Limits(slow_consumer=SlowConsumer(buffer_limit=65_536, max_pause=pause)))
    frame = wire.frame(wire.BINARY, bytes(size), masked=False)
    at.client.stalled = True
    at.backend.arrive(frame)
    for seconds in (0.5, 0.5, 1.0):
        at.now += seconds
        judge(at)
    is_cut = size > 65_536 or pause == 0.5
    assert (at.splice.state == "closing") is is_cut
    assert at.to_client.startswith(frame)
    assert at.to_client.endswith(b"slow-consumer") is is_cut


def test_a_burst_for_somebody_who_reads_is_nothing() -> None:
    at = bench(Limits(slow_consumer=SlowConsumer(buffer_limit=65_536)))
    for _ in range(10):
        at.client.stalled = True
        at.backend.arrive(LONG)
        at.now += 0.9
        judge(at)
        at.client.unstall()
    assert at.splice.state == "open"


def test_a_connection_that_is_closing_has_a_bound_of_its_own() -> None:
    at = bench()
    at.client.stalled = True
    at.backend.arrive(LONG)
    at.splice.cut(CloseReason.LOGGED_OUT)
    at.now += 10
    judge(at)
    at.loop.fire()
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.end[0].reason is CloseReason.LOGGED_OUT


@pytest.mark.parametrize("lost", ["client", "backend"])
def test_the_loss_of_either_ends_the_watch(lost: str) -> None:
    at = bench()
    at.client.stalled = True
    at.backend.arrive(LONG)
    (at.client if lost == "client" else at.backend).lose(None)
    at.now += 10
    judge(at)
    at.loop.fire()
    for transport in (at.client, at.backend):
        transport.lose(None)
    assert at.end[0].reason.token == f"{lost}-lost"
    assert all(timer.call is None for timer in at.loop.timers)


def test_under_audit_it_is_told_of_once_and_waited_for() -> None:
    at = bench()
    at.owner.audits = True
    for _ in range(3):
        at.client.stalled = True
        at.backend.arrive(LONG)
        at.now += 10
        judge(at)
        at.client.unstall()
    assert at.owner.spared == [CloseReason.SLOW_CONSUMER]
    assert at.to_client == LONG * 3


def test_a_guard_that_was_frozen_writes_what_can_be_taken_before_it_judges() -> None:
    """Its timers run before its sockets are written to (SIGSTOP, a paused container, a machine that is moved)."""
    at = bench()
    for _ in range(3):
        at.client.stalled = True
        at.backend.arrive(LONG)
        at.now += 60
        at.loop.wake("_look")
        assert at.splice.state == "open"
        at.client.unstall()
    judge(at)
    assert at.splice.state == "open"
    at.client.stalled = True
    at.backend.arrive(LONG)
    at.now += 60
    judge(at)
    assert at.splice.state == "closing", "and who takes nothing all the same is cut"


# With sockets.


@pytest.mark.parametrize("pause", [0.3, 600.0, 1e9])
async def test_tcp_bears_what_the_policy_does(backend: RecordingBackend, pause: float) -> None:
    """A window that stays closed is a silence to Linux, which would end it as a lost client."""
    spec = PolicySpec(limits=Limits(slow_consumer=SlowConsumer(max_pause=pause)))
    async with tunnel(backend, spec) as opened:
        for side in ("client", "backend"):
            sock = opened.half(side).transport.get_extra_info("socket")
            found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert found == min((GONE + pause) * 1000, 2**31 - 1)


SPEC = PolicySpec(rejection=QUICK, limits=Limits(slow_consumer=SlowConsumer(max_pause=0.3)))


@pytest.mark.parametrize("size", [20_000, 5_000_000])
async def test_a_client_that_never_reads_is_gone_soon(backend: RecordingBackend, size: int) -> None:
    """At a boundary or far from one; it need not read anything for that, and the backend is told at once."""
    async with tunnel(backend, SPEC, receive_buffer=4096) as opened:
        began = time.monotonic()
        await stall(opened, text(b"x" * size), copies=20 if size < 65_536 else 1)
        assert (await opened.far.frame()).close == (1001, "slow-consumer")
        assert await record(opened) == ("guard", "slow-consumer", 1013, "open", "undelivered")
        assert time.monotonic() - began < 0.3 + GRACE + 8.0
        with pytest.raises(ConnectionResetError):
            await opened.client.rest()


async def test_a_client_that_reads_on_in_time_reads_everything(backend: RecordingBackend) -> None:
    frame = text(b"x" * 20_000)
    async with tunnel(backend, SPEC, receive_buffer=4096) as opened:
        sending = asyncio.create_task(opened.far.send(frame * 200))
        await opened.returns(frame * 200)
        await sending
        await opened.client.send(text(b"here", masked=True))
        assert (await opened.far.frame()).payload == b"here"
        assert opened.splice.state == "open"


async def test_a_backend_that_never_reads(backend: RecordingBackend) -> None:
    """The client is told to come back later, and its Close is not behind anything."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(answers.switching(head))
        await asyncio.Event().wait()

    backend.answer = answer
    async with tunnel(backend, SPEC) as opened:
        sending = asyncio.create_task(opened.client.send(text(b"x" * 20_000, masked=True) * 1000))
        code, reason = await opened.client.close_frame()
        assert (code, reason.split()[0]) == (1013, "slow-consumer")
        with suppress(ConnectionError):
            await sending
        assert (await opened.house.end()).reason is CloseReason.SLOW_CONSUMER
        opened.far.writer.transport.abort()


async def test_an_audited_slow_consumer_is_waited_for(backend: RecordingBackend) -> None:
    spec = SPEC.model_copy(update={"enforcement": Enforcement.AUDIT})
    frame = text(b"x" * 20_000)
    async with tunnel(backend, spec, receive_buffer=4096) as opened:
        await stall(opened, frame)
        spares = opened.house.notebook.spares
        await eventually(lambda: spares, what="a cut that was spared")
        await opened.returns(frame * 20)
        assert [reason for _, reason in spares] == [CloseReason.SLOW_CONSUMER]


async def test_a_bound_on_bytes_over_sockets(backend: RecordingBackend) -> None:
    """Who never reads is over it at once, who reads never for long."""
    spec = PolicySpec(rejection=QUICK, limits=Limits(slow_consumer=SlowConsumer(buffer_limit=65_536)))
    frame = text(b"x" * 20_000)
    async with tunnel(backend, spec, receive_buffer=4096) as opened:
        sending = asyncio.create_task(opened.far.send(frame * 200))
        await opened.returns(frame * 200)
        await sending
        assert opened.splice.state == "open"
        await stall(opened, frame)
        assert (await opened.far.frame()).close == (1001, "slow-consumer")
        ended = await opened.house.end()
        assert ended.detail.endswith("bytes wait for the client, which does not read them")
