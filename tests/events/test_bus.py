"""Events reach every replica whatever the order, the number and the state of the stream."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.events.fakes import NOW, FakeStream, Replica
from tests.sessions.fakes import FakeLink, identity, link_of
from tests.support.waiting import eventually
from wsguard.events.bus import Published
from wsguard.events.outbox import Outbox, OutboxFull
from wsguard.events.source import Entry
from wsguard.policy.model import OnGap, OnOutage
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import CLOCK_ALLOWANCE, SHORTEST_RETENTION
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout

ALICE = Logout("subject", "alice", "https://idp.test", NOW)


def entry(**members: object) -> Entry:
    return Entry("1-0", json.dumps(members).encode(), NOW - 100)


async def test_without_a_stream_an_event_is_applied_and_done() -> None:
    replica = Replica()
    alice = replica.connect("c1", identity("alice"))
    assert await replica.bus.publish("ControlAPI", ALICE, "e1") == Published(1, stored=True)
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    assert replica.bus.is_ready


async def test_what_one_replica_learns_all_do() -> None:
    stream = FakeStream()
    here, other = FakeStream(), FakeStream()
    here.stored = other.stored = stream.stored
    first, second = Replica(here), Replica(other)
    alice = second.connect("c1", identity("alice"))
    for replica in (first, second):
        replica.start()
        await eventually(lambda replica=replica: replica.bus.is_ready)  # type: ignore[misc]
    assert await first.bus.publish("ControlAPI", ALICE, "e1") == Published(0, stored=True)
    await eventually(lambda: link_of(alice).reason)
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    assert ("ControlAPI", "published") in first.notebook.counts
    for replica in (first, second):
        await replica.close()


async def test_while_the_stream_is_away_it_closes_here_and_is_published_later() -> None:
    stream = FakeStream()
    replica = Replica(stream)
    alice = replica.connect("c1", identity("alice"))
    replica.start()
    await eventually(lambda: replica.bus.is_ready)
    stream.is_away = True
    await eventually(lambda: not replica.bus.followers[0].is_up)
    assert await replica.bus.publish("ControlAPI", ALICE, "e1") == Published(1, stored=False)
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    stream.is_away = False
    await eventually(lambda: stream.stored)
    assert json.loads(stream.stored[0])["subject"] == "alice"
    await replica.close()
    assert not replica.notebook.losses


async def test_what_could_not_be_stored_before_the_end_is_said() -> None:
    stream = FakeStream()
    stream.is_away = True
    replica = Replica(stream)
    replica.start()
    await eventually(lambda: replica.bus.is_ready, what="onOutage is Continue")
    await replica.bus.publish("ControlAPI", ALICE, "e1")
    await replica.close()
    assert replica.notebook.losses == [1]


async def test_a_connection_that_cannot_be_cut_here_leaves_none_alive_elsewhere() -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError

    stream = FakeStream()
    replica = Replica(stream)
    replica.connect("c1", identity("alice")).link = Broken()
    replica.start()
    with pytest.raises(ExceptionGroup):
        await replica.bus.publish("ControlAPI", ALICE, "e1")
    await eventually(lambda: stream.stored)
    await replica.close()


async def test_an_outbox_has_a_bound() -> None:
    outbox = Outbox(FakeStream(), lambda _: None, capacity=2)
    outbox.put(b"1")
    outbox.put(b"2")
    with pytest.raises(OutboxFull):
        outbox.put(b"3")
    assert await outbox.flush(1.0) == 0


async def test_what_waits_is_stored_as_soon_as_the_stream_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsguard.events.outbox._FIRST_DELAY", 60.0)
    stream = FakeStream()
    stream.is_away = True
    outbox = Outbox(stream, lambda _: None)
    running = asyncio.create_task(outbox.run())
    outbox.put(b"1")
    await asyncio.sleep(0.05)  # it has failed once
    stream.is_away = False
    outbox.hurry()
    await eventually(lambda: not outbox)
    running.cancel()


async def test_poison_is_skipped_and_counted_and_stops_nothing() -> None:
    replica = Replica()
    alice = replica.connect("c1", identity("alice"))
    for document in (b"", b"\xff", b"{}", b'{"sid": 1}', b'{"subject": "alice", "tenant": "b"}'):
        replica.bus.take("RedisStream", Entry("1-0", document, NOW), is_live=True)
    assert link_of(alice).reason is None
    replica.bus.take("RedisStream", entry(subject="alice", issuedBefore=NOW), is_live=True)
    assert link_of(alice).reason is CloseReason.LOGGED_OUT
    assert [result for _, result in replica.notebook.counts] == ["skipped"] * 5 + ["applied"]


async def test_where_several_issuers_are_trusted_an_event_must_name_one() -> None:
    replica = Replica()
    replica.issuers.append("https://other.test")
    alice = replica.connect("c1", identity("alice"))
    replica.bus.take("RedisStream", entry(subject="alice"), is_live=True)
    assert link_of(alice).reason is None
    assert "several" in replica.notebook.skips[0]
    replica.bus.take("RedisStream", entry(subject="alice", issuer="https://idp.test"), is_live=True)
    assert link_of(alice).reason is CloseReason.LOGGED_OUT


async def test_twice_and_in_any_order_comes_to_the_same() -> None:
    events = [entry(subject="alice", issuedBefore=50), entry(subject="alice", issuedBefore=150), entry(sid="s1")]
    outcomes = set()
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 1, 2, 2), (1, 2, 0, 0)):
        replica = Replica()
        for number in order:
            replica.bus.take("RedisStream", events[number], is_live=False)
        people = [
            identity("alice", sid=sid, issued_at=issued_at) for sid in (None, "s1") for issued_at in (40, 100, 200)
        ]
        outcomes.add(tuple(replica.deny_list.denies(who, NOW) for who in people))
    assert outcomes == {(True, True, False, True, True, True)}


async def test_an_event_read_back_does_not_log_out_who_came_after_it() -> None:
    replica = Replica()
    later = replica.connect("c1", identity("alice", issued_at=NOW - 10))
    before = replica.connect("c2", identity("alice", issued_at=NOW - 200))
    replica.bus.take("RedisStream", entry(subject="alice"), is_live=False)
    assert link_of(later).reason is None
    assert link_of(before).reason is CloseReason.LOGGED_OUT
    assert replica.notebook.applied_events[0][2] is None, "its lag says nothing"


async def test_a_connection_that_cannot_be_cut_does_not_stop_the_next_event() -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError

    replica = Replica()
    replica.connect("c1", identity("alice")).link = Broken()
    bob = replica.connect("c2", identity("bob"))
    replica.bus.take("RedisStream", entry(subject="alice"), is_live=True)
    replica.bus.take("RedisStream", entry(subject="bob"), is_live=True)
    assert link_of(bob).reason is CloseReason.LOGGED_OUT
    assert len(replica.notebook.faults) == 1


async def test_a_gap_closes_all_that_was_issued_before_it_ended_or_nothing() -> None:
    for on_gap, reason in ((OnGap.CLOSE_ALL, CloseReason.LOGGED_OUT), (OnGap.CONTINUE, None)):
        stream = FakeStream()
        stream.gap = "lost"
        replica = Replica(stream, on_gap=on_gap)
        alice = replica.connect("c1", identity("alice", issued_at=NOW - 1))
        anonymous = replica.connect("c2", None)
        replica.start()
        await eventually(lambda replica=replica: replica.notebook.gaps)  # type: ignore[misc]
        assert link_of(alice).reason is reason
        assert link_of(anonymous).reason is None
        fresh, old = identity("bob", issued_at=NOW + 1), identity("bob", issued_at=NOW)
        assert not replica.deny_list.denies(fresh, NOW + 1)
        assert replica.deny_list.denies(old, NOW + 1) is (on_gap is OnGap.CLOSE_ALL)
        await replica.close()


async def test_handshakes_wait_until_the_stream_is_read_back() -> None:
    stream = FakeStream()
    stream.stored.append(entry(sid="s1").document)
    replica = Replica(stream)
    assert replica.deny_list.is_behind
    assert not replica.bus.is_ready
    replica.start()
    await eventually(lambda: not replica.deny_list.is_behind)
    assert replica.deny_list.denies(identity(sid="s1"), NOW)
    await replica.close()


async def test_on_outage_says_whether_handshakes_wait_for_a_stream_that_is_away() -> None:
    for on_outage, waits in ((OnOutage.CONTINUE, False), (OnOutage.REFUSE_NEW, True)):
        stream = FakeStream()
        stream.is_away = True
        replica = Replica(stream, on_outage=on_outage)
        replica.start()
        await eventually(lambda replica=replica: replica.notebook.ups)  # type: ignore[misc]
        await asyncio.sleep(0)
        assert replica.deny_list.is_behind is waits
        stream.is_away = False
        await eventually(lambda replica=replica: replica.bus.followers[0].is_up)  # type: ignore[misc]
        assert not replica.deny_list.is_behind
        stream.is_away = True
        await eventually(lambda replica=replica: not replica.bus.followers[0].is_up)  # type: ignore[misc,arg-type]
        assert replica.deny_list.is_behind is waits
        await replica.close()


@pytest.mark.parametrize("is_live", [True, False])
def test_an_entry_from_the_far_future_denies_nobody_for_ever(is_live: bool) -> None:
    """In Redis whoever adds an entry may choose its number, and every later number is higher still."""
    replica = Replica()
    far = Entry("99999999999999-0", json.dumps({"subject": "alice"}).encode(), 99_999_999_999.999)
    replica.bus.take("RedisStream", far, is_live=is_live)
    assert replica.deny_list.denies(identity("alice", issued_at=NOW), NOW)
    assert not replica.deny_list.denies(identity("alice", issued_at=NOW + 1), NOW + 1), "a new login holds"
    milliseconds = Entry("99999999999999-1", json.dumps({"subject": "bob", "issuedBefore": NOW * 1000}).encode(), 1e11)
    replica.bus.take("RedisStream", milliseconds, is_live=is_live)
    assert "milliseconds" in replica.notebook.skips[0]


def test_what_is_read_back_lapses_when_it_would_have_without_the_restart() -> None:
    replica, gone = Replica(), SHORTEST_RETENTION + CLOCK_ALLOWANCE + 1
    for sid, age in (("old", gone), ("young", gone - 100)):
        stored = Entry("1-0", json.dumps({"sid": sid}).encode(), NOW - age)
        replica.bus.take("RedisStream", stored, is_live=False)
    assert not replica.deny_list.denies(identity(sid="old"), NOW)
    assert replica.deny_list.denies(identity(sid="young"), NOW)


COOKIE, BEFORE = cookie_digest("now"), cookie_digest("before")


async def test_with_a_cookie_the_others_hear_of_the_values_it_replaced() -> None:
    """They may have sockets of an older value, and did not see it replaced."""
    first, second = FakeStream(), FakeStream()
    second.stored = first.stored
    replicas = [Replica(first), Replica(second)]
    elsewhere = replicas[1].admit("c1", BEFORE)
    replicas[0].admit("c2", BEFORE)
    replicas[0].registry.successions.replace(BEFORE, COOKIE)
    for replica in replicas:
        replica.start()
        await eventually(lambda replica=replica: replica.bus.is_ready)  # type: ignore[misc]
    await replicas[0].bus.publish("LogoutDetection", Logout("cookie", COOKIE, None, 0.0), "e1")
    await eventually(lambda: link_of(elsewhere).reason)
    assert [json.loads(document)["cookie"] for document in first.stored] == [COOKIE, BEFORE]
    for replica in replicas:
        await replica.close()


async def test_a_question_about_a_cookie_is_answered_by_who_admitted_it_for_all() -> None:
    stream = FakeStream()
    replica = Replica(stream)
    mine = replica.admit("c1", COOKIE)
    replica.start()
    await eventually(lambda: replica.bus.is_ready)
    for cookie in (cookie_digest("invented"), COOKIE, COOKIE):
        replica.bus.take("RedisStream", entry(cookie=cookie, ifAdmitted=True), is_live=True)
    assert link_of(mine).reason is CloseReason.LOGGED_OUT
    assert replica.deny_list.denies_cookie(COOKIE, (), NOW)
    assert len(replica.deny_list) == 1
    await eventually(lambda: stream.stored)
    (answer,) = map(json.loads, stream.stored)
    assert (answer["cookie"], "ifAdmitted" in answer) == (COOKIE, False)
    await replica.close()
    assert replica.notebook.counts.count(("RedisStream", "ignored")) == 2


async def test_a_question_that_is_read_back_is_none_any_more() -> None:
    """Whoever answered it said so in the stream; and the session may be another one by now."""
    replica = Replica()
    mine = replica.admit("c1", COOKIE)
    replica.bus.take("RedisStream", entry(cookie=COOKIE, ifAdmitted=True), is_live=False)
    assert link_of(mine).reason is None
    assert not replica.bus.inquire(Logout("cookie", COOKIE, None, 0.0), "e1"), "nobody is there to be asked"
