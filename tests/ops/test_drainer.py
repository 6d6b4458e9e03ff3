from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.ops.rig import LeavingLink, Rig
from tests.sessions.fakes import FakeLink, connection, link_of
from tests.support.waiting import eventually, stays
from wsguard.ops import drainer as module
from wsguard.ops.drainer import DrainIsFinalError, DrainState
from wsguard.policy.model import Shutdown
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Farewell

LONG = 3_600.0


@dataclass
class HintedLink(LeavingLink):
    """Writes down what the client is told."""

    said: list[bytes | None] = field(default_factory=list)
    goodbyes: list[bytes] = field(default_factory=list)
    hinted_at: float = 0.0

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        self.said.append(speak())
        self.hinted_at = time.monotonic()

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        self.goodbyes.append(goodbye)
        super().leave(reason, goodbye, crowd)


async def test_closes_are_spread_over_the_window(rig: Rig) -> None:
    links = rig.connect_leaving(20)
    began = time.monotonic()
    rig.drainer.start(1.5)
    assert rig.drainer.is_draining
    await asyncio.wait_for(rig.drainer.wait(), 10)
    assert {link.reason for link in links} == {CloseReason.DRAINING}
    offsets = sorted((link.cut_at or 0.0) - began for link in links)
    assert offsets[-1] - offsets[0] > 0.9
    assert sum(offset < 0.75 for offset in offsets) in range(5, 16)
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
    assert rig.drainer.status.progress.remaining == 1
    assert rig.events("drain_finished")[0]["connections"] == 1


@pytest.mark.parametrize("hint", [b"", b"hint"])
async def test_one_that_cannot_be_told_does_not_save_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hint: bytes
) -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError("uvloop says no")

        def interject(self, speak: Callable[[], bytes | None]) -> None:
            raise RuntimeError("uvloop says no")

    monkeypatch.setattr(module, "STRAGGLERS", 0.1)
    broken = connection("broken", link=Broken())
    broken.farewell = Farewell(hint, grace=0.05)
    rig.registry.add(broken)
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


def hinted(rig: Rig, connection_id: str, grace: float, *, idle_since: float = 0.0) -> HintedLink:
    link = HintedLink(registry=rig.registry, id=connection_id, last_message_at=idle_since)
    one = connection(connection_id, link=link)
    one.farewell = Farewell(b"hint", b"goodbye", grace)
    rig.registry.add(one)
    return link


async def test_a_hint_comes_first_and_then_a_grace(rig: Rig) -> None:
    links = [hinted(rig, f"c{number}", 0.3) for number in range(10)]
    rig.drainer.start(1.0)
    await asyncio.wait_for(rig.drainer.wait(), 10)
    for link in links:
        assert link.said == [b"hint"]
        assert link.goodbyes == [b"goodbye"]
        assert 0.25 < (link.cut_at or 0.0) - link.hinted_at < 3.0
    hints = sorted(link.hinted_at for link in links)
    assert 0.4 < hints[-1] - hints[0] < 3.0, "spread over what the grace leaves of the window"
    assert rig.drainer.status.progress.hinted == 10


async def test_a_grace_is_at_most_half_of_the_window(rig: Rig) -> None:
    link = hinted(rig, "c", 60.0)
    rig.drainer.start(0.6)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert 0.25 < (link.cut_at or 0.0) - link.hinted_at < 3.0


async def test_no_window_leaves_no_time_for_a_hint(rig: Rig) -> None:
    link = hinted(rig, "c", 60.0)
    rig.drainer.start(0.0)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert (link.said, link.goodbyes) == ([], [b"goodbye"])


async def test_a_drain_that_is_taken_back_spares_the_hinted(rig: Rig) -> None:
    link = hinted(rig, "c", 0.4)
    rig.drainer.start(1.0)
    await eventually(lambda: link.said)
    rig.drainer.cancel()
    await stays(lambda: link.reason is None, 0.8)


TOTAL = ("chat", "total", "")


async def hinted_and_counted(rig: Rig) -> HintedLink:
    """A connection that counts against a cap, in a drain that has hinted it."""
    link = hinted(rig, "c1", 0.4)
    (connection,) = rig.registry
    rig.registry.census.open(connection, [TOTAL])
    rig.drainer.start(1.0)
    await eventually(lambda: link.said, what="the hint")
    return link


async def test_who_was_hinted_in_a_drain_that_is_taken_back_counts_again(rig: Rig) -> None:
    """Else it could stay for a day beside its successor, and count nowhere."""
    await hinted_and_counted(rig)
    rig.drainer.cancel()
    assert rig.registry.census.count(TOTAL) == 1
    rig.drainer.start(0.0)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert rig.drainer.status.progress.closed == 1, "and it is found by the next"


async def test_the_rate_has_a_cap_and_the_drain_takes_longer_for_it(rig: Rig) -> None:
    rig.shutdown = Shutdown(max_closes_per_second=20)
    links = rig.connect_leaving(30)
    rig.drainer.start(0.2)
    assert 1.0 < (rig.drainer.status.progress.eta or 0.0) < 1.7
    await asyncio.wait_for(rig.drainer.wait(), 10)
    moments = sorted(link.cut_at or 0.0 for link in links)
    assert 1.1 < moments[-1] - moments[0] < 4.0


async def test_hurrying_knows_no_cap_and_no_grace(rig: Rig) -> None:
    rig.shutdown = Shutdown(max_closes_per_second=1)
    rig.connect_leaving(20)
    late = hinted(rig, "c", 1_000.0, idle_since=-1.0)
    rig.drainer.start(LONG)
    await stays(lambda: rig.drainer.status.state is DrainState.DRAINING, 0.2)
    rig.drainer.hurry()
    await asyncio.wait_for(rig.drainer.wait(), 10)
    assert len(late.goodbyes) == 1


async def test_hurrying_closes_those_in_their_grace(rig: Rig) -> None:
    """Everyone has been told to go, nobody is closed yet: the loop must neither wait for their grace nor spin."""
    links = [hinted(rig, f"c{number}", 1_000.0) for number in range(3)]
    rig.drainer.start(2_000.0)
    rig.drainer.start(0.6)
    await eventually(lambda: all(link.said for link in links))
    rig.drainer.hurry()
    await asyncio.wait_for(rig.drainer.wait(), 10)
    assert {len(link.goodbyes) for link in links} == {1}


async def test_progress_is_told(rig: Rig) -> None:
    links = rig.connect_leaving(4)
    rig.drainer.start(LONG)
    status = rig.drainer.status.progress
    assert (status.total, status.closed, status.remaining, status.rate) == (4, 0, 4, 0.0)
    assert LONG - 5 < (status.eta or 0.0) <= LONG
    links[0].cut(CloseReason.CLIENT_CLOSED)
    rig.connect("newcomer")
    status = rig.drainer.status.progress
    assert (status.total, status.closed, status.remaining, status.rate) == (5, 1, 4, 1.0)
    rig.registry.remove("newcomer")
    rig.drainer.hurry()
    await asyncio.wait_for(rig.drainer.wait(), 5)
    status = rig.drainer.status.progress
    assert (status.total, status.closed, status.remaining, status.eta) == (5, 5, 0, 0.0)


async def test_handshakes_are_refused_or_admitted_by_choice(rig: Rig) -> None:
    rig.connect("c")
    assert not rig.drainer.refuses
    rig.drainer.start(LONG)
    assert rig.drainer.refuses
    rig.shutdown = Shutdown(admit_during_drain=True)
    assert rig.drainer.is_draining, "unready in any case"
    assert not rig.drainer.refuses
    newcomer = hinted(rig, "newcomer", 0.0)
    rig.drainer.start(0.3)
    await eventually(lambda: newcomer.reason is CloseReason.DRAINING)
    await eventually(lambda: rig.drainer.refuses, what="nobody who has no time left")


async def test_those_at_the_door_are_sent_away_once_nobody_is_let_in(rig: Rig) -> None:
    rig.shutdown = Shutdown(admit_during_drain=True)
    rig.connect_leaving(2)
    rig.drainer.start(0.3)
    assert rig.sent_away == 0
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert rig.sent_away == 1


async def test_whoever_talks_is_put_off(rig: Rig) -> None:
    talking = LeavingLink(registry=rig.registry, id="talking", last_message_at=9.0)
    rig.registry.add(connection("talking", link=talking))
    silent = rig.connect_leaving(9)
    rig.drainer.start(0.5)
    await asyncio.wait_for(rig.drainer.wait(), 5)
    assert all((link.cut_at or 0.0) < (talking.cut_at or 0.0) for link in silent)


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


async def test_who_was_hinted_leaves_room_for_its_successor(rig: Rig) -> None:
    """From the hint on, while it is open for its grace."""
    link = await hinted_and_counted(rig)
    assert link.reason is None
    assert rig.registry.census.count(TOTAL) == 0
