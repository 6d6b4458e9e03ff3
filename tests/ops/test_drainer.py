from __future__ import annotations

import asyncio
import time

import pytest

from tests.ops.rig import Rig
from tests.sessions.fakes import FakeLink, connection, link_of
from tests.support.waiting import eventually, stays
from wsguard.ops import drainer as module
from wsguard.ops.drainer import DrainIsFinalError, DrainState
from wsguard.protocol.reasons import CloseReason

LONG = 3_600.0


async def test_closes_are_spread_over_the_window(rig: Rig) -> None:
    links = rig.connect_leaving(20)
    began = time.monotonic()
    rig.drainer.start(0.5)
    assert rig.drainer.is_draining
    await asyncio.wait_for(rig.drainer.wait(), 10)
    assert {link.reason for link in links} == {CloseReason.DRAINING}
    offsets = sorted((link.cut_at or 0.0) - began for link in links)
    assert offsets[-1] - offsets[0] > 0.3
    assert sum(offset < 0.25 for offset in offsets) in range(5, 16)
    assert [link.cut_at for link in links] != sorted(link.cut_at or 0.0 for link in links), "in no order of age"
    assert rig.drainer.status.state is DrainState.DRAINED
    assert rig.drainer.is_draining, "a drained guard stays unready"


async def test_nobody_connected_is_drained_at_once(rig: Rig) -> None:
    rig.drainer.start(LONG)
    await asyncio.wait_for(rig.drainer.wait(), 5)


async def test_who_waits_at_the_door_is_sent_away_when_it_begins(rig: Rig) -> None:
    rig.connect("one")
    rig.drainer.start(LONG)
    assert rig.sent_away == 1


async def test_the_wait_ends_early_when_everybody_has_left(rig: Rig) -> None:
    rig.connect("only")
    rig.drainer.start(LONG)
    await stays(lambda: rig.drainer.status.state is DrainState.DRAINING, 0.3)
    rig.registry.remove("only")
    await asyncio.wait_for(rig.drainer.wait(), 5)


async def test_one_may_wait_before_the_trigger(rig: Rig) -> None:
    waiter = asyncio.create_task(rig.drainer.wait())
    await stays(lambda: not waiter.done(), 0.1)
    rig.drainer.start(0.0)
    await asyncio.wait_for(waiter, 5)


async def test_whoever_registers_during_the_drain_is_cut_by_its_end(rig: Rig) -> None:
    rig.connect_leaving(3)
    rig.drainer.start(0.2)
    late = rig.connect("late")
    await eventually(lambda: link_of(late).reason is CloseReason.DRAINING)
    rig.registry.remove("late")
    await asyncio.wait_for(rig.drainer.wait(), 5)


async def test_a_straggler_does_not_hold_the_process(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRAGGLERS", 0.2)
    rig.connect("zombie")
    rig.drainer.start(0.0)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert rig.drainer.status.remaining == 1
    assert rig.events("drain_finished")[0]["connections"] == 1


async def test_one_that_cannot_be_cut_does_not_save_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError("uvloop says no")

    monkeypatch.setattr(module, "STRAGGLERS", 0.1)
    rig.registry.add(connection("broken", link=Broken()))
    links = rig.connect_leaving(5)
    rig.drainer.start(0.1)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert all(link.reason is CloseReason.DRAINING for link in links)
    assert rig.events("fault")[0]["exception"] == "RuntimeError"


async def test_cancelling_takes_connections_again(rig: Rig) -> None:
    spared = rig.connect("spared")
    rig.drainer.start(LONG)
    rig.drainer.cancel()
    assert not rig.drainer.is_draining
    assert rig.drainer.status.window is None
    await stays(lambda: link_of(spared).reason is None, 0.2)
    rig.drainer.start(0.0)
    await eventually(lambda: link_of(spared).reason is CloseReason.DRAINING)


async def test_a_finished_drain_can_be_taken_back_and_done_again(rig: Rig) -> None:
    rig.drainer.start(0.0)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    rig.drainer.start(LONG)
    assert rig.drainer.status.state is DrainState.DRAINED, "there is nothing left to do"
    rig.drainer.cancel()
    waiter = asyncio.create_task(rig.drainer.wait())
    await stays(lambda: not waiter.done(), 0.1)
    rig.drainer.start(0.0)
    await asyncio.wait_for(waiter, 5)


async def test_a_second_trigger_changes_the_window(rig: Rig) -> None:
    rig.connect_leaving(5)
    rig.drainer.start(LONG)
    rig.drainer.start(0.1)
    await asyncio.wait_for(rig.drainer.wait(), 5)


async def test_the_end_of_the_process_is_final(rig: Rig) -> None:
    rig.connect_leaving(2)
    await asyncio.wait_for(rig.drainer.finish(0.1), 5)
    with pytest.raises(DrainIsFinalError):
        rig.drainer.cancel()
    await asyncio.wait_for(rig.drainer.finish(LONG), 5)


async def test_the_end_of_the_process_hurries_a_drain_that_would_outlast_it(rig: Rig) -> None:
    rig.connect_leaving(3)
    rig.drainer.start(LONG)
    await asyncio.wait_for(rig.drainer.finish(0.1), 5)


async def test_the_end_of_the_process_leaves_a_shorter_drain_its_pace(rig: Rig) -> None:
    rig.connect_leaving(3)
    rig.drainer.start(0.2)
    await asyncio.wait_for(rig.drainer.finish(LONG), 5)
    assert len(rig.events("drain_started")) == 1


async def test_thousands_are_cut_at_once_without_stopping_the_loop(rig: Rig) -> None:
    rig.connect_leaving(2_000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count())
    rig.drainer.start(0.0)
    await asyncio.wait_for(rig.drainer.wait(), 10)
    counter.cancel()
    assert turns >= 10
