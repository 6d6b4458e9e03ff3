"""A stream without an engine, and an observer that writes everything down."""

from __future__ import annotations

import asyncio
from random import Random

from tests.sessions.fakes import connection
from wsguard.events.bus import Bus
from wsguard.events.follower import Follower
from wsguard.events.source import Batch, Entry, StreamAway
from wsguard.policy.model import OnGap, OnOutage
from wsguard.sessions.connection import Connection
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.events import SessionEnd
from wsguard.sessions.identity import Identity
from wsguard.sessions.registry import Registry

NOW = 1_800_000_000.5


class StillClock:
    """Both clocks stand where they are put."""

    def __init__(self) -> None:
        self.now = NOW

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Notebook:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, str]] = []
        self.applied_events: list[tuple[SessionEnd, int, float | None]] = []
        self.detections: list[tuple[str, str, str]] = []
        self.skips: list[str] = []
        self.gaps: list[tuple[str, int | None]] = []
        self.ups: list[bool] = []
        self.losses: list[int] = []
        self.faults: list[BaseException] = []
        self.shared: list[bool] = []
        self.told: list[str] = []
        self.ignored: list[str] = []
        self.others = self.left_out = 0

    def event(self, source: str, result: str) -> None:
        self.counts.append((source, result))

    def applied(self, source: str, event: SessionEnd, closed: int, lag: float | None) -> None:
        self.applied_events.append((event, closed, lag))

    def detected(self, policy: str, cookie: str, why: str) -> None:
        self.detections.append((policy, cookie, why))

    def skipped(self, source: str, entry: str, why: str) -> None:
        self.skips.append(why)

    def gap(self, source: str, why: str, closed: int | None) -> None:
        self.gaps.append((why, closed))

    def source_up(self, source: str, is_up: bool, why: str) -> None:
        self.ups.append(is_up)

    def waiting(self, source: str, count: int) -> None:
        pass

    def lost(self, source: str, count: int) -> None:
        self.losses.append(count)

    def counts_shared(self, source: str, is_up: bool, why: str) -> None:
        self.shared.append(is_up)

    def counts_told(self, source: str, result: str) -> None:
        self.told.append(result)

    def counts_ignored(self, source: str, why: str) -> None:
        self.ignored.append(why)

    def counting(self, source: str, replicas: int, left_out: int) -> None:
        self.others, self.left_out = replicas, left_out

    def fault(self, where: str, error: BaseException) -> None:
        self.faults.append(error)


class FakeStream:
    """A stream in a list. `is_away`: reading and appending fail."""

    name = "RedisStream"

    def __init__(self) -> None:
        self.is_away = False
        self.stored: list[bytes] = []
        self.gap: str | None = None
        self.reads = 0
        self._cursor = 0

    async def read(self) -> Batch:
        await asyncio.sleep(0)
        if self.is_away:
            raise StreamAway("it is away")
        self.reads += 1
        new, gap = self.stored[self._cursor :], self.gap
        self._cursor, self.gap = len(self.stored), None
        if not new and self.reads > 1:
            await asyncio.sleep(0.005)
        return Batch(tuple(Entry(f"{i}-0", document, NOW - 100) for i, document in enumerate(new)), True, gap)

    async def append(self, document: bytes) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise StreamAway("it is away")
        self.stored.append(document)

    async def close(self) -> None:
        pass


class Replica:
    """A bus with a registry and a deny-list of its own, on `stream`."""

    def __init__(
        self,
        stream: FakeStream | None = None,
        on_gap: OnGap = OnGap.CONTINUE,
        on_outage: OnOutage = OnOutage.CONTINUE,
        patience: float = 0.5,
    ) -> None:
        self.clock, self.notebook = StillClock(), Notebook()
        self.registry, self.deny_list = Registry(), DenyList()
        self.issuers = ["https://idp.test"]
        self.bus = Bus(
            self.registry,
            self.deny_list,
            self.clock,
            self.notebook,
            lambda: self.issuers,
            on_gap,
            patience,
        )
        if stream is not None:
            self.bus.followers = [Follower(stream, self.bus, self.notebook, on_outage, Random(1))]
        self.bus.look_again()

    def start(self) -> None:
        for follower in self.bus.followers:
            follower.start()

    async def close(self) -> None:
        for follower in self.bus.followers:
            await follower.close()

    def admit(self, connection_id: str, *cookies: str) -> Connection:
        """A connection that came with these session cookies."""
        one = connection(connection_id, watched=cookies)
        self.registry.add(one)
        return one

    def connect(self, connection_id: str, who: Identity | None) -> Connection:
        one = connection(connection_id, who)
        self.registry.add(one)
        return one
