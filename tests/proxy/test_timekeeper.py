"""Who is cut when: by the wall clock, which may jump, and by the monotonic one, which may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.fakes import FakeClock, FakeLoop
from tests.proxy.house import House
from tests.proxy.login import BEARER, ann, with_login
from tests.proxy.tunnel import QUICK, tunnel
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually, stays
from wsguard.policy.model import PolicySpec, Rejection, Session
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.timekeeper import TICK, Timekeeper
from wsguard.sessions.bounds import Bounds
from wsguard.sessions.connection import Link, Traffic

LOOPS = ["uvloop"]

SKEW = 30.0


class FakeLink:
    """Writes down what it is cut for."""

    state = "open"

    def __init__(self) -> None:
        self.cuts: list[CloseReason] = []
        self.last_message_at = 0.0

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        self.cuts.append(reason)

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        raise AssertionError

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        pass

    def traffic(self) -> Traffic:
        return Traffic(0, 0, 0, 0)


class Watch:
    """A timekeeper, its clocks, and links under its eye."""

    def __init__(self) -> None:
        self.loop, self.clock = FakeLoop(), FakeClock()
        self.keeper = Timekeeper(cast("asyncio.AbstractEventLoop", self.loop), self.clock)

    def link(
        self, name: str, *, expires: float | None = None, ends: float | None = None, idle: float | None = None
    ) -> FakeLink:
        """Watch one; `expires` is seconds of the wall clock from now."""
        link: Link = FakeLink()
        expires_at = None if expires is None else self.clock.wall() + expires
        self.keeper.watch(name, link, Bounds(expires_at, ends, idle))
        assert isinstance(link, FakeLink)
        return link

    def turn(self, seconds: float, *, wall: bool = True) -> None:
        self.clock.monotonics += seconds
        self.clock.walls += seconds if wall else 0.0
        self.keeper.check()


def test_a_tick_follows_a_tick_until_it_is_stopped() -> None:
    watch = Watch()
    watch.keeper.start()
    for _ in range(3):
        timer = watch.loop.armed
        assert timer is not None
        assert timer.when == TICK
        watch.loop.fire()
    watch.keeper.stop()
    watch.keeper.stop()
    assert watch.loop.armed is None


def test_an_expiry_is_cut_once_and_not_before() -> None:
    watch = Watch()
    link = watch.link("a", expires=10.0)
    watch.turn(9.75)
    assert link.cuts == []
    watch.turn(0.25)
    watch.turn(100.0)
    assert link.cuts == [CloseReason.SESSION_EXPIRED]


def test_the_wall_clock_may_jump() -> None:
    """Forward: whatever is over is cut at the next look. Back: a token lives as long as its own clock says."""
    watch = Watch()
    soon, late = watch.link("a", expires=10.0), watch.link("b", expires=1000.0)
    watch.clock.walls += 500.0
    watch.keeper.check()
    assert (soon.cuts, late.cuts) == ([CloseReason.SESSION_EXPIRED], [])
    watch.clock.walls -= 500.0
    watch.turn(600.0)
    assert late.cuts == []
    watch.turn(400.0)
    assert late.cuts == [CloseReason.SESSION_EXPIRED]


def test_the_wall_clock_does_not_move_a_duration() -> None:
    watch = Watch()
    old, idle = watch.link("a", ends=100.0), watch.link("b", idle=100.0)
    watch.clock.walls += 10_000.0
    watch.keeper.check()
    assert (old.cuts, idle.cuts) == ([], [])
    watch.turn(100.0, wall=False)
    assert (old.cuts, idle.cuts) == ([CloseReason.MAX_DURATION], [CloseReason.IDLE_TIMEOUT])


def test_a_message_puts_the_idle_timeout_off() -> None:
    watch = Watch()
    link = watch.link("a", idle=10.0)
    for now in (8.0, 16.0, 24.0):
        watch.turn(8.0)
        link.last_message_at = now
    watch.turn(9.75)
    assert link.cuts == []
    watch.turn(0.25)
    assert link.cuts == [CloseReason.IDLE_TIMEOUT]


def test_the_earliest_bound_wins() -> None:
    watch = Watch()
    link = watch.link("a", expires=30.0, ends=20.0, idle=50.0)
    link.last_message_at = 10.0
    watch.turn(20.0)
    assert link.cuts[0] is CloseReason.MAX_DURATION
    busy = watch.link("b", ends=1000.0, idle=5.0)
    busy.last_message_at = 20.0
    watch.turn(5.0)
    assert busy.cuts == [CloseReason.IDLE_TIMEOUT]


@given(st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(0, 200)), min_size=1, max_size=12))
def test_whatever_renews_it_a_connection_ends_at_its_greatest_age(steps: list[tuple[int, int | None]]) -> None:
    """Each step some seconds pass, and a newer credential moves its end, or takes it away."""
    watch, age, ends = Watch(), 0.0, 100.0
    link: FakeLink = watch.link("a", expires=50.0, ends=ends)
    expires: float | None = 50.0
    for seconds, lives in steps:
        watch.turn(float(seconds))
        age += seconds
        assert bool(link.cuts) is (age >= ends or (expires is not None and age >= expires))
        if link.cuts:
            return
        expires = None if lives is None else age + lives
        watch.keeper.forget("a")
        watch.keeper.watch("a", link, Bounds(None if lives is None else watch.clock.wall() + lives, ends, None))
    watch.turn(ends)
    assert link.cuts


def test_a_hint_comes_once_and_can_be_put_off() -> None:
    watch, hints = Watch(), []
    watch.link("a", expires=100.0)
    watch.keeper.remind("a", watch.clock.wall() + 70.0, lambda: hints.append("a"))
    watch.turn(69.75)
    assert hints == []
    watch.keeper.remind("a", watch.clock.wall() + 10.0, lambda: hints.append("later"))
    watch.turn(5.0)
    assert hints == []
    watch.turn(5.0)
    watch.turn(50.0)
    assert hints == ["later"]
    watch.keeper.remind("a", watch.clock.wall() + 10.0, lambda: hints.append("never"))
    watch.keeper.forget("a")
    watch.turn(50.0)
    assert hints == ["later"]


def test_who_is_over_is_forgotten() -> None:
    watch = Watch()
    link = watch.link("a", expires=10.0, ends=10.0, idle=10.0)
    watch.keeper.forget("a")
    watch.keeper.forget("a")
    watch.turn(100.0)
    assert link.cuts == []
    assert watch.keeper._watched == {}


def test_a_thousand_links_are_looked_at_only_when_they_are_due() -> None:
    watch = Watch()
    links = [watch.link(str(n), expires=float(n), ends=1e9, idle=1e9) for n in range(1000)]
    watch.turn(499.5)
    assert sum(len(link.cuts) for link in links) == 500


# Through the proxy.


async def test_a_session_is_cut_at_exp_and_skew(backend: RecordingBackend) -> None:
    """Not at exp: what the door would still let in is not thrown out."""
    async with House(backend, with_login(session=Session(clock_skew=SKEW))) as house, connect(house.port) as client:
        house.facts.identity = ann(house.clock.wall() + 10.0)
        await client.open(BEARER)
        (connection,) = house.registry
        assert connection.expires_at == pytest.approx(house.clock.wall() + 10.0 + SKEW, abs=5.0)
        house.clock.wall_offset += 11.0
        await stays(lambda: connection.link.state == "open", 2 * TICK)
        house.clock.wall_offset += SKEW
        assert await client.close_frame(deadline=2.0) == (4440, "session-expired")
        (await backend.conversation()).close()
        assert (await house.end()).reason is CloseReason.SESSION_EXPIRED


async def test_an_idle_connection_is_cut_whatever_it_pings(backend: RecordingBackend) -> None:
    async with tunnel(backend, PolicySpec(session=Session(idle_timeout=60.0), rejection=QUICK)) as opened:
        clock = opened.house.clock
        clock.monotonic_offset += 50.0
        await opened.client.send(wire.frame(wire.TEXT, b"data"))
        await opened.far.frame()
        clock.monotonic_offset += 50.0
        await stays(lambda: opened.splice.state == "open", 2 * TICK)
        await opened.client.send(wire.frame(wire.PING, b"p"))
        await opened.far.send(wire.frame(wire.PONG, b"p", masked=False))
        assert (await opened.far.frame()).opcode == wire.PING
        assert (await opened.client.frame()).opcode == wire.PONG
        clock.monotonic_offset += 11.0
        assert await opened.client.close_frame(deadline=2.0) == (4408, "idle-timeout")
        assert (await opened.house.end()).reason is CloseReason.IDLE_TIMEOUT


@pytest.mark.parametrize("from_backend", [False, True])
async def test_data_of_either_side_keeps_a_connection(backend: RecordingBackend, from_backend: bool) -> None:
    async with tunnel(backend, PolicySpec(session=Session(idle_timeout=60.0), rejection=QUICK)) as opened:
        for _ in range(3):
            opened.house.clock.monotonic_offset += 50.0
            if from_backend:
                await opened.far.send(wire.frame(wire.TEXT, b"data", masked=False))
                await opened.client.frame()
            else:
                await opened.client.send(wire.frame(wire.TEXT, b"data"))
                await opened.far.frame()
        await stays(lambda: opened.splice.state == "open", 2 * TICK)


async def test_an_old_connection_is_cut_and_asked_back(backend: RecordingBackend) -> None:
    async with tunnel(backend, PolicySpec(session=Session(max_connection_duration=3600.0), rejection=QUICK)) as opened:
        opened.house.clock.wall_offset += 10_000.0
        await stays(lambda: opened.splice.state == "open", 2 * TICK)
        opened.house.clock.monotonic_offset += 3600.0
        code, reason = await opened.client.close_frame(deadline=2.0)
        assert code == 1012
        assert reason.startswith("max-duration retry-after=")


async def test_a_session_is_cut_in_the_middle_of_a_flood(backend: RecordingBackend) -> None:
    """A jump of the wall clock is noticed while both sides keep the guard busy."""
    frame = wire.frame(wire.TEXT, b"x" * 5000, masked=False)
    slow = with_login(rejection=Rejection(close_timeout=10.0))  # the client has megabytes to read first
    async with House(backend, slow) as house, connect(house.port) as client:
        house.facts.identity = ann(house.clock.wall() + 3600.0)
        await client.open(BEARER)
        conversation = await backend.conversation()

        async def flood() -> None:
            while True:
                await conversation.send(frame)

        task = asyncio.create_task(flood())
        await client.frame()
        house.clock.wall_offset += 4000.0
        assert await client.close_frame() == (4440, "session-expired")
        task.cancel()
        await asyncio.wait([task])
        conversation.close()
        await client.close()
        await eventually(lambda: house.notebook.ends)
