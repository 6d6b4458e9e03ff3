"""Who is dialled for and when: one while the backend is away, then more, never too many; nobody is left out."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.support.waiting import eventually, stays
from wsguard.proxy import redialer
from wsguard.proxy.redialer import MOST_DIALS, Outcome, Redialer


class World:
    """A backend that is `up` or not, and takes a moment to answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redialer, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(redialer, "LONGEST_PAUSE", 0.05)
        self.counts: list[int] = []
        self.redialer = Redialer(asyncio.get_running_loop(), Random(1), self.counts.append)
        self.up = False
        self.dials = self.now = self.most = 0

    def held(self, count: int) -> list[Client]:
        clients = [Client(self) for _ in range(count)]
        for client in clients:
            self.redialer.enter(client)
            self.redialer.ask(client)
        return clients


class Client:
    def __init__(self, world: World) -> None:
        self.world = world
        self.outcomes: list[Outcome] = []
        self.is_cancelled = False
        self.errors: list[Exception] = []
        self.reads = 0
        self.bug: Exception | None = None

    async def redial(self) -> Outcome:
        world = self.world
        world.dials += 1
        world.now += 1
        world.most = max(world.most, world.now)
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        finally:
            world.now -= 1
        if self.bug is not None:
            raise self.bug
        self.outcomes.append(Outcome.JOINED if world.up else Outcome.FAILED)
        if world.up:
            world.redialer.leave(self)
        return self.outcomes[-1]

    def fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.world.redialer.leave(self)

    def read_on(self) -> None:
        self.reads += 1


async def test_one_asks_while_it_is_away_and_many_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    clients = world.held(100)
    await eventually(lambda: sum(bool(client.outcomes) for client in clients) >= 8, what="eight who took turns")
    assert world.most == 1
    world.up = True
    await eventually(lambda: not len(world.redialer))
    assert 4 < world.most <= MOST_DIALS
    assert all(client.outcomes[-1] is Outcome.JOINED for client in clients)
    assert world.counts[-1] == 0


async def test_who_leaves_is_not_dialled_for_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    one, two = world.held(2)
    await eventually(lambda: world.now)
    dialled = one if not one.outcomes and world.dials == 1 else two
    for client in (one, two):
        world.redialer.leave(client)
        world.redialer.leave(client)
    await eventually(lambda: dialled.is_cancelled or not world.now)
    before = world.dials
    await stays(lambda: world.dials == before, 0.2)


async def test_who_loses_every_backend_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.up = True
    monkeypatch.setattr(redialer, "LONGEST_PAUSE", 5.0)
    monkeypatch.setattr(redialer, "FIRST_PAUSE", 0.2)
    poor = Client(world)
    world.redialer.enter(poor)
    world.redialer.ask(poor, losses=10)
    monkeypatch.setattr(redialer, "FIRST_PAUSE", 0.01)
    world.held(20)
    await eventually(lambda: len(world.redialer) == 1)
    assert not poor.outcomes
    world.redialer.leave(poor)


async def test_a_bug_keeps_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.up = True
    clients = world.held(5)
    clients[0].bug = RuntimeError("a bug")
    await eventually(lambda: not len(world.redialer))
    assert clients[0].errors == [clients[0].bug]


async def test_all_are_told_when_the_store_is_full_and_when_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    monkeypatch.setattr(redialer, "MOST_KEPT", 100)
    clients = world.held(3)
    reads = []
    for size in (60, 60, 60, -60, -60, -60):
        world.redialer.keep(size)
        reads.append((world.redialer.is_full, clients[0].reads))
    assert reads == [(False, 0), (True, 1), (True, 1), (True, 1), (False, 2), (False, 2)]
    for client in clients:
        world.redialer.leave(client)


async def test_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.held(10)
    await eventually(lambda: world.now)
    await world.redialer.close()
    before = world.dials
    await stays(lambda: world.dials == before, 0.1)
