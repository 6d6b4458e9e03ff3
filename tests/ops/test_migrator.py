"""Who is moved, at which pace, and what becomes of it while a backend is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.ops.rig import LeavingLink, Rig
from tests.sessions.fakes import FakeLink, connection, link_of
from tests.support.waiting import eventually, stays
from wsguard.ops import lookout
from wsguard.ops.migration import MigrationError, MigrationState
from wsguard.policy.model import Shutdown
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Farewell

LONG = 3_600.0
AWAY = "green cannot be dialled: refused"


@dataclass
class HintedLink(LeavingLink):
    """Writes down what the client is told."""

    said: list[bytes | None] = field(default_factory=list)

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        self.said.append(speak())


def hinted(rig: Rig, connection_id: str, grace: float) -> HintedLink:
    link = HintedLink(registry=rig.registry, id=connection_id)
    one = connection(connection_id, link=link)
    one.farewell = Farewell(b"hint", b"goodbye", grace)
    rig.registry.add(one)
    return link


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "LOOK", 0.1)


async def reaches(rig: Rig, state: MigrationState) -> None:
    await eventually(lambda: rig.migrator.status.state is state, what=f"the state {state.value}")


async def test_those_elsewhere_are_moved_and_those_who_are_there_stay(rig: Rig) -> None:
    links = rig.connect_leaving(20)
    moved = rig.connect("already-there", backend="green")
    began = time.monotonic()
    await rig.migrator.start("green", 0.5)
    assert rig.backends.active_name == "green", "what is new goes there at once"
    await reaches(rig, MigrationState.MIGRATED)
    assert {link.reason for link in links} == {CloseReason.MIGRATING}
    offsets = sorted((link.cut_at or 0.0) - began for link in links)
    assert offsets[-1] - offsets[0] > 0.3
    assert link_of(moved).reason is None
    status = rig.migrator.status
    assert [(one.name, one.is_active, one.connections) for one in status.backends] == [
        ("default", False, 0),
        ("green", True, 1),
    ]
    assert (status.progress.total, status.progress.closed, status.progress.remaining) == (20, 20, 0)
    rig.connect("new", backend="default")
    assert rig.migrator.status.progress.total == 20, "what comes later is no part of it"


async def test_the_hint_comes_first_and_the_rate_has_a_cap(rig: Rig) -> None:
    """The drain's own machinery: nothing is done twice."""
    rig.shutdown = Shutdown(max_closes_per_second=20)
    links = rig.connect_leaving(20)
    link = hinted(rig, "c", 0.2)
    began = time.monotonic()
    await rig.migrator.start("green", 0.5)
    await reaches(rig, MigrationState.MIGRATED)
    assert link.said == [b"hint"]
    assert time.monotonic() - began > 0.9
    assert all(each.reason is CloseReason.MIGRATING for each in [*links, link])
    assert rig.migrator.status.progress.hinted == 1


async def test_it_is_not_over_while_a_handshake_may_still_come_to_the_old_one(rig: Rig) -> None:
    rig.backends.under_way["default"][0] = 1
    await rig.migrator.start("green", 0.0)
    await stays(lambda: rig.migrator.status.state is MigrationState.MIGRATING, 0.3)
    late = LeavingLink(registry=rig.registry, id="late")
    rig.registry.add(connection("late", link=late))
    rig.backends.under_way["default"][0] = 0
    await reaches(rig, MigrationState.MIGRATED)
    assert late.reason is CloseReason.MIGRATING


async def test_plain_requests_have_the_window(rig: Rig) -> None:
    """Such as a stream of events, which would hold it for ever."""
    rig.backends.under_way["default"][1] = 1
    await rig.migrator.start("green", 0.4)
    await stays(lambda: rig.migrator.status.state is MigrationState.MIGRATING, 0.2)
    await reaches(rig, MigrationState.MIGRATED)
    assert rig.migrator.status.backends[0].requests == 1, "and is shown"
    await rig.migrator.start("default", LONG)
    await reaches(rig, MigrationState.MIGRATED)


async def test_one_that_cannot_be_dialled_is_refused_with_the_reason(rig: Rig) -> None:
    rig.connect("c")
    rig.backends.away["green"] = AWAY
    with pytest.raises(MigrationError, match="refused"):
        await rig.migrator.start("green", 1.0)
    assert (rig.migrator.status.state, rig.backends.active_name) == (MigrationState.IDLE, "default")
    with pytest.raises(MigrationError, match="known here: default, green"):
        await rig.migrator.start("blue", 1.0)


async def test_a_target_that_goes_away_pauses_it_and_one_that_returns_resumes_it(rig: Rig) -> None:
    """Nobody is closed meanwhile, not even whose grace is over; and what is new goes back."""
    links = rig.connect_leaving(40)
    rig.connect("straggler")
    await rig.migrator.start("green", 1.0)
    await eventually(lambda: any(link.reason for link in links))
    rig.backends.away["green"] = AWAY
    await reaches(rig, MigrationState.PAUSED)
    status = rig.migrator.status
    assert (status.detail, status.progress.eta) == (AWAY, None)
    left = len(rig.registry)
    await stays(lambda: len(rig.registry) == left, 0.6)
    assert rig.backends.active_name == "default"
    del rig.backends.away["green"]
    await reaches(rig, MigrationState.MIGRATING)
    assert rig.backends.active_name == "green"
    assert len(rig.registry) > left / 2, "nothing is made up for"
    rig.registry.remove("straggler")
    await reaches(rig, MigrationState.MIGRATED)
    names = [event["event"] for event in rig.lines.events() if event["event"].startswith("migration")]
    assert names == ["migration_started", "migration_paused", "migration_resumed", "migration_finished"]


async def test_a_grace_that_has_begun_is_not_ended_in_a_pause(rig: Rig) -> None:
    links = [hinted(rig, f"c{number}", 0.5) for number in range(5)]
    await rig.migrator.start("green", 1.2)
    await eventually(lambda: all(link.said for link in links))
    rig.backends.away["green"] = AWAY
    await reaches(rig, MigrationState.PAUSED)
    before = len(rig.registry)
    await stays(lambda: len(rig.registry) == before, 0.8)
    del rig.backends.away["green"]
    await reaches(rig, MigrationState.MIGRATED)
    assert {len(link.said) for link in links} == {1}, "and nobody is told twice"


async def test_closes_that_were_due_as_the_pause_began_come_after_it(rig: Rig) -> None:
    """Overdue by a moment, with nobody left to tell: once they spun the loop for ever."""
    link = hinted(rig, "c", 0.5)
    await rig.migrator.start("green", 1.0)
    await eventually(lambda: link.said)
    course = rig.migrator._course
    assert course is not None
    rig.drainer.start(LONG)
    await reaches(rig, MigrationState.PAUSED)
    course.departures.postpone(-LONG)
    rig.drainer.cancel()
    await reaches(rig, MigrationState.MIGRATED)
    assert link.reason is CloseReason.MIGRATING


async def test_a_target_that_stays_away_ends_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "PATIENCE", 0.3)
    kept = rig.connect("c")
    await rig.migrator.start("green", LONG)
    rig.connect("there", backend="green")
    rig.backends.away["green"] = AWAY
    await reaches(rig, MigrationState.ABORTED)
    status = rig.migrator.status
    assert (status.detail, rig.backends.active_name) == (AWAY, "default")
    assert link_of(kept).reason is None
    assert not rig.migrator.is_under_way
    assert rig.events("migration_aborted")[0]["detail"] == AWAY


async def test_where_both_are_away_nothing_changes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until one of them is back."""
    monkeypatch.setattr(lookout, "PATIENCE", 0.2)
    kept = rig.connect("c")
    await rig.migrator.start("green", LONG)
    rig.backends.away |= {"green": AWAY, "default": "gone as well"}
    await reaches(rig, MigrationState.PAUSED)
    rig.backends.dialled.clear()
    await stays(lambda: rig.migrator.status.state is MigrationState.PAUSED, 0.5)
    assert len(rig.backends.dialled) < 14, "dialled now and then, and not all the time"
    assert link_of(kept).reason is None
    with pytest.raises(MigrationError, match="no way back: gone as well"):
        await rig.migrator.abort()
    del rig.backends.away["default"]
    await reaches(rig, MigrationState.ABORTED)


async def test_a_target_whose_handshakes_fail_is_no_target(rig: Rig) -> None:
    """Its port answers, and it serves nobody."""
    kept = rig.connect("c")
    await rig.migrator.start("green", LONG)
    rig.backends.doubts["green"] = "green has failed 5 handshakes in a row"
    await reaches(rig, MigrationState.PAUSED)
    assert "5 handshakes" in (rig.migrator.status.detail or "")
    assert link_of(kept).reason is None


async def test_aborting_sends_what_is_new_back_and_moves_nobody_else(rig: Rig) -> None:
    link = hinted(rig, "c", 0.3)
    moved = rig.connect("moved", backend="green")
    await rig.migrator.start("green", 0.8)
    await eventually(lambda: link.said)
    await rig.migrator.abort()
    assert rig.backends.active_name == "default"
    await stays(lambda: link.reason is None, 0.8)
    assert link_of(moved).reason is None
    assert rig.migrator.status.state is MigrationState.ABORTED
    with pytest.raises(MigrationError, match="no migration is under way"):
        await rig.migrator.abort()


@pytest.mark.parametrize("turns_round", [False, True])
async def test_who_was_hinted_and_is_not_moved_counts_again(rig: Rig, turns_round: bool) -> None:
    """Else it could stay for a day beside its successor, and count nowhere."""
    key = ("chat", "total", "")
    link = hinted(rig, "c", 0.3)
    (one,) = rig.registry
    rig.registry.census.open(one, [key])
    await rig.migrator.start("green", 0.8)
    await eventually(lambda: link.said)
    assert rig.registry.census.count(key) == 0
    if turns_round:
        await rig.migrator.start("default", 0.8)
    else:
        await rig.migrator.abort()
    assert rig.registry.census.count(key) == 1


async def test_going_back_moves_those_who_had_gone(rig: Rig) -> None:
    """In the middle of it: the other half turns."""
    stays_here = rig.connect("c")
    gone = LeavingLink(registry=rig.registry, id="gone")
    rig.registry.add(connection("gone", link=gone, backend="green"))
    await rig.migrator.start("green", LONG)
    await rig.migrator.start("default", 0.1)
    await reaches(rig, MigrationState.MIGRATED)
    assert (gone.reason, link_of(stays_here).reason) == (CloseReason.MIGRATING, None)
    status = rig.migrator.status
    assert status.plan is not None
    assert (status.plan.source, status.plan.target, rig.backends.active_name) == ("green", "default", "default")


async def test_a_second_trigger_changes_the_window(rig: Rig) -> None:
    links = rig.connect_leaving(5)
    await rig.migrator.start("green", LONG)
    await rig.migrator.start("green", 0.1)
    await reaches(rig, MigrationState.MIGRATED)
    assert all(link.reason for link in links)
    assert rig.migrator.status.plan is not None
    assert rig.migrator.status.plan.source == "default", "an abort would still have led back there"


async def test_two_triggers_at_once_are_one_after_the_other(rig: Rig) -> None:
    rig.connect_leaving(3)
    await asyncio.gather(
        rig.migrator.start("green", LONG), rig.migrator.start("default", LONG), rig.migrator.start("green", 0.1)
    )
    await reaches(rig, MigrationState.MIGRATED)
    assert not len(rig.registry)
    running = [task for task in asyncio.all_tasks() if task.get_name().startswith("wsguard-migrat")]
    await eventually(lambda: all(task.done() for task in running))


async def test_a_drain_comes_before_it(rig: Rig) -> None:
    """It sends everyone away for its own reason; taken back, the migration goes on."""
    late = hinted(rig, "c", 0.5)
    await rig.migrator.start("green", 1.0)
    await eventually(lambda: late.said)
    rig.drainer.start(LONG)
    await reaches(rig, MigrationState.PAUSED)
    assert rig.migrator.status.detail == "the guard is draining"
    assert rig.backends.active_name == "green"
    await stays(lambda: late.reason is None, 0.8)
    with pytest.raises(MigrationError, match="draining"):
        await rig.migrator.start("green", 1.0)
    rig.drainer.cancel()
    await reaches(rig, MigrationState.MIGRATED)
    assert late.reason is CloseReason.MIGRATING


async def test_a_fault_closes_nobody(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = rig.connect("c")
    await rig.migrator.start("green", 0.5)
    monkeypatch.setattr(rig.backends, "doubt", lambda name: 1 / 0)
    await reaches(rig, MigrationState.PAUSED)
    await stays(lambda: link_of(kept).reason is None, 0.6)
    assert rig.events("fault")[0]["where"] == "migration"


async def test_one_that_cannot_be_cut_does_not_keep_the_others(rig: Rig) -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError("uvloop says no")

    rig.registry.add(connection("broken", link=Broken()))
    links = rig.connect_leaving(3)
    await rig.migrator.start("green", 0.0)
    await eventually(lambda: all(link.reason for link in links))
    await stays(lambda: rig.migrator.status.state is MigrationState.MIGRATING, 0.2)
    assert rig.migrator.status.progress.remaining == 1, "and it is told that one is left"


async def test_closing_moves_nobody_any_more(rig: Rig) -> None:
    kept = rig.connect("c")
    await rig.migrator.start("green", 0.3)
    await rig.migrator.close()
    await stays(lambda: link_of(kept).reason is None, 0.5)
