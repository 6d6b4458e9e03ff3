"""Replicas on a channel without an engine: they count together while it carries, and each for itself while not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import pytest

from tests.events.fakes import Notebook
from tests.sessions.fakes import connection
from tests.support.waiting import eventually, stays
from wsguard.events import shared_counts
from wsguard.events.shared_counts import BEAT, SharedCounts
from wsguard.events.source import StreamAway
from wsguard.process import SystemClock
from wsguard.sessions import elsewhere
from wsguard.sessions.census import Census, Claim, Key
from wsguard.sessions.counts import Counts, serialize

TOTAL: Key = ("chat", "total", "")
CLAIMS = [Claim(TOTAL, 2)]


class Air:
    """What carries words between channels. `is_away`: nothing can be said or heard; `is_deaf`: nothing is carried."""

    def __init__(self) -> None:
        self.is_away = self.is_deaf = False
        self.ears: list[asyncio.Queue[bytes]] = []
        self.said: list[bytes] = []

    def carry(self, document: bytes) -> None:
        self.said.append(document)
        for ears in self.ears if not self.is_deaf else ():
            ears.put_nowait(document)


class FakeChannel:
    name = "RedisStream"
    topic = "wsguard:events"

    def __init__(self, air: Air) -> None:
        self.air = air
        self._ears: asyncio.Queue[bytes] | None = None

    async def open(self) -> None:
        self._check()
        self._ears = asyncio.Queue()
        self.air.ears.append(self._ears)

    async def hear(self) -> bytes | None:
        self._check()
        assert self._ears is not None
        try:
            async with asyncio.timeout(0.02):
                return await self._ears.get()
        except TimeoutError:
            return None

    async def say(self, document: bytes) -> None:
        self._check()
        self.air.carry(document)

    async def close(self) -> None:
        if self._ears in self.air.ears:
            self.air.ears.remove(self._ears)

    def _check(self) -> None:
        if self.air.is_away:
            raise StreamAway("it is away")


class Replica:
    def __init__(self, air: Air, seed: int) -> None:
        self.census, self.notebook, self.is_wanted = Census(), Notebook(), True
        self.counts = SharedCounts(
            FakeChannel(air), self.census, SystemClock(), self.notebook, lambda: self.is_wanted, Random(seed)
        )

    def enter(self, who: str) -> bool:
        if self.census.reserve(who, CLAIMS) is not None:
            return False
        self.census.open(connection(who), [TOTAL])
        return True

    def sees(self, count: int) -> bool:
        return self.census.count_elsewhere(TOTAL) == count


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as fast as in earnest."""
    for name in ("BEAT", "INTERVAL"):
        monkeypatch.setattr(shared_counts, name, getattr(shared_counts, name) / 10)
    monkeypatch.setattr(shared_counts, "PATIENCE", 1.0)
    monkeypatch.setattr(elsewhere, "SILENCE", elsewhere.SILENCE / 10)


@pytest.fixture
async def air() -> Air:
    return Air()


@pytest.fixture
async def two(air: Air) -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        both = Replica(air, 1), Replica(air, 2)
        for each in both:
            each.counts.start()
            stack.push_async_callback(each.counts.close)
        await eventually(lambda: all(each.notebook.others == 1 for each in both), what="they hear one another")
        yield both


async def test_places_that_are_taken_there_are_taken_here(two: tuple[Replica, Replica]) -> None:
    first, second = two
    assert first.enter("a")
    await eventually(lambda: second.sees(1))
    assert second.enter("b")
    assert not second.enter("c")
    await eventually(lambda: first.sees(1))
    assert not first.enter("d")
    first.census.leave("a")
    await eventually(lambda: second.sees(0))
    assert second.enter("c")
    assert first.notebook.shared == second.notebook.shared == [True]


async def test_a_newcomer_knows_soon(two: tuple[Replica, Replica], air: Air) -> None:
    assert two[0].enter("a")
    await eventually(lambda: two[1].sees(1))
    late = Replica(air, 3)
    late.counts.start()
    await eventually(lambda: late.sees(1))
    await late.counts.close()
    assert late.sees(0), "who has left counts for himself"


async def test_who_leaves_takes_its_places_with_it(
    two: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "SILENCE", 60.0)
    first, second = two
    assert first.enter("a")
    await eventually(lambda: second.sees(1))
    await first.counts.close()
    await eventually(lambda: second.sees(0), what="that nobody waits for its silence")


async def test_an_outage_leaves_each_its_own_count_and_ends(two: tuple[Replica, Replica], air: Air) -> None:
    first, second = two
    assert first.enter("a")
    await eventually(lambda: second.sees(1))
    air.is_away = True
    await eventually(lambda: second.sees(0), what="the last word has expired")
    assert [second.enter(who) for who in "bcd"] == [True, True, False]
    first.census.leave("a")
    air.is_away = False
    await eventually(lambda: first.sees(2), what="what changed meanwhile is known")
    assert not first.enter("e")
    assert first.notebook.shared == [True, False, True]
    await stays(lambda: second.sees(0), 0.3)


async def test_who_does_not_hear_himself_knows_that_nobody_hears(two: tuple[Replica, Replica], air: Air) -> None:
    first, second = two
    assert first.enter("a")
    air.is_deaf = True
    await eventually(lambda: first.notebook.shared == [True, False])
    await eventually(lambda: second.sees(0))
    air.is_deaf = False
    await eventually(lambda: second.sees(1) and first.notebook.shared == [True, False, True])


async def test_without_a_cap_nothing_is_said(air: Air) -> None:
    one = Replica(air, 1)
    one.is_wanted = False
    one.counts.start()
    await asyncio.sleep(3 * BEAT / 10)
    assert not air.said
    assert not air.ears
    one.is_wanted = True
    await eventually(lambda: one.notebook.shared == [True])
    one.is_wanted = False
    await eventually(lambda: not air.ears)
    assert air.said[-1].endswith(b'"leaves":true}')
    await one.counts.close()


async def test_poison_is_counted_and_changes_nothing(two: tuple[Replica, Replica], air: Air) -> None:
    first, second = two
    for poison in (b"", b"logout alice", b'{"replica":"x","counts":{}}', b"[" * 60_000):
        air.carry(poison)
    await eventually(lambda: second.notebook.told.count("ignored") == 4)
    assert len(second.notebook.ignored) == 4
    assert first.enter("a")
    await eventually(lambda: second.sees(1))
    assert not second.notebook.faults + first.notebook.faults


async def test_a_flood_is_not_looked_at_for_long(
    two: tuple[Replica, Replica], air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_counts, "MAX_HEARD", 50_000)
    document = serialize(Counts("f" * 32, {"x" * 22: 1}))
    for _ in range(1_000):
        air.carry(document)
    await eventually(lambda: two[0].notebook.told.count("ignored") >= 50, what="some were dropped")
    assert two[0].enter("a")
    await eventually(lambda: two[1].sees(1), what="it goes on after that")
