"""Detected log-outs: only of cookies that were admitted, here or at a replica that is asked, and once."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.events.fakes import FakeStream, Replica
from tests.policy.exchanges import CLEARED, LISTED, exchange, policy
from tests.policy.minting import provider
from tests.sessions.fakes import FakeLink, identity, link_of
from tests.support.waiting import eventually
from wsguard.events.detection import LogoutDetector
from wsguard.events.outbox import CAPACITY
from wsguard.policy.credentials import Credential
from wsguard.policy.logout_detection import Exchange, signs
from wsguard.policy.model import Jwt, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.http import Headers
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity, cookie_digest

A, B, C = (cookie_digest(value) for value in "abc")
OUT = exchange(CLEARED)


class Guarded(Replica):
    """A replica with a detector, under a policy that watches the cookie `session`."""

    def __init__(self, stream: FakeStream | None = None, patience: float = 0.5) -> None:
        super().__init__(stream, patience=patience)
        self.policies = PolicySet((LISTED,))
        self.detector = LogoutDetector(
            self.bus, self.registry, self.deny_list, self.clock, self.notebook, lambda: self.policies, self.vouch
        )

    def vouch(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        """Only a cookie that a provider reads and that says so is good."""
        return identity(expires_at=1e6) if credential.token == "good" else None

    async def see(self, *exchanges: Exchange) -> None:
        """Let the detector see these, each to its end."""
        for one in exchanges:
            if begun := self.detector.notice(one):
                await asyncio.wait((begun,))


async def test_a_logout_ends_every_socket_of_the_cookie_and_no_other() -> None:
    guarded = Guarded()
    mine, too, other = guarded.admit("1", A), guarded.admit("2", "sha256:x", A), guarded.admit("3", B)
    await guarded.see(OUT)
    assert [link_of(one).reason for one in (mine, too, other)] == [CloseReason.LOGGED_OUT] * 2 + [None]
    assert guarded.deny_list.denies_cookie(A, (), guarded.clock.now)
    assert guarded.notebook.counts == [("LogoutDetection", "applied")]
    assert guarded.notebook.detections == [("chat", A, "POST /logout was answered 302")]
    assert guarded.notebook.applied_events[0][1] == 2


async def test_it_has_taken_effect_after_one_turn_of_the_loop() -> None:
    """Whatever the streams do: an answer waits for no more than that here."""
    guarded = Guarded(FakeStream())
    mine = guarded.admit("1", A)
    begun = guarded.detector.notice(OUT)
    assert begun is not None
    await asyncio.sleep(0)
    assert link_of(mine).reason is CloseReason.LOGGED_OUT
    await guarded.detector.close()
    await guarded.close()


async def test_a_cookie_that_was_never_admitted_leaves_nothing_behind() -> None:
    guarded = Guarded()
    for number in range(1000):
        await guarded.see(exchange(CLEARED, cookie=f"session=invented{number}"), exchange(cookie=f"session={number}"))
    assert len(guarded.deny_list) == 0
    assert len(guarded.registry.successions) == 0
    assert set(guarded.notebook.counts) == {("LogoutDetection", "ignored")}
    assert guarded.notebook.detections == []


async def test_a_logout_counts_after_the_last_socket_is_gone() -> None:
    guarded = Guarded()
    guarded.admit("1", A)
    guarded.registry.remove("1")
    await guarded.see(OUT)
    assert guarded.deny_list.denies_cookie(A, (), guarded.clock.now)


async def test_a_cookie_that_is_good_by_itself_counts_unseen_and_for_as_long_as_it_lives() -> None:
    """A signed token that nobody has opened a socket with is as good as ever, to a thief."""
    guarded = Guarded()
    jwt = Jwt(providers=(provider("HS256", extract_from={"cookies": ["session"]}),))
    reading = LISTED.model_copy(update={"spec": LISTED.spec.model_copy(update={"jwt": jwt})})
    for policies, entries in ((LISTED, 0), (reading, 1)):
        guarded.policies = PolicySet((policies,))
        await guarded.see(*(exchange(CLEARED, cookie=f"session={value}") for value in ("good", "bad")))
        assert len(guarded.deny_list) == entries
    good = cookie_digest("good")
    assert guarded.deny_list.denies_cookie(good, (), guarded.clock.now + 900_000)
    assert "good" not in repr(signs(exchange(cookie="session=good"), [reading], guarded.clock.now))


async def test_once_is_enough() -> None:
    """Who still holds the cookie of a session that is over cannot fill the stream with it."""
    stream = FakeStream()
    guarded = Guarded(stream)
    guarded.admit("1", A)
    guarded.start()
    await eventually(lambda: guarded.bus.is_ready)
    await guarded.see(*[OUT] * 20)
    assert len(stream.stored) == 1
    await guarded.close()


async def test_a_cookie_that_is_replaced_keeps_its_sockets_and_the_new_one_ends_them() -> None:
    guarded = Guarded()
    mine, later = guarded.admit("1", A), guarded.admit("2", B)
    guarded.policies = PolicySet((policy(),))
    await guarded.see(exchange("session=b; Path=/"), exchange("session=c; Path=/", cookie="session=b"))
    assert link_of(mine).reason is None
    await guarded.see(exchange(CLEARED, cookie="session=c"))
    assert [link_of(one).reason for one in (mine, later)] == [CloseReason.LOGGED_OUT] * 2
    assert all(guarded.deny_list.denies_cookie(each, (), guarded.clock.now) for each in (A, B))
    assert len(guarded.deny_list) == 2, "c was never admitted"


async def test_a_login_after_the_logout_is_another_session() -> None:
    """Where the application leaves the cookie in place and replaces it at the next login."""
    guarded = Guarded()
    guarded.admit("1", A)
    await guarded.see(exchange(), exchange("session=b; Path=/", target="/login"))
    assert not guarded.registry.successions.knows(B)


async def test_values_that_were_only_given_out_take_no_room_in_the_deny_list() -> None:
    """An application that sets a new cookie in each answer must not let one session fill the list for all."""
    guarded = Guarded()
    guarded.policies = PolicySet((policy(),))
    guarded.admit("1", A)
    values = [f"v{number}" for number in range(50)]
    await guarded.see(*(exchange(f"session={value}; Path=/") for value in values))
    await guarded.see(*(exchange(CLEARED, cookie=f"session={value}") for value in reversed(values)))
    await guarded.see(*(exchange("session=w; Path=/", cookie=f"session={value}") for value in values))
    assert len(guarded.deny_list) == 1
    assert not guarded.registry.successions.knows(cookie_digest("w"))


async def test_a_new_value_of_nobody_links_nothing() -> None:
    guarded = Guarded()
    guarded.policies = PolicySet((policy(),))
    await guarded.see(exchange("session=b; Path=/"))
    assert not guarded.registry.successions.knows(B)


async def test_without_a_policy_that_watches_nothing_is_looked_at() -> None:
    guarded = Guarded()
    mine = guarded.admit("1", A)
    guarded.policies = PolicySet(())
    await guarded.see(OUT)
    assert link_of(mine).reason is None


async def test_the_replica_that_admitted_the_cookie_is_asked() -> None:
    """The balancer may send the log-out elsewhere than the socket."""
    first, second = FakeStream(), FakeStream()
    second.stored = first.stored
    seer, holder = Guarded(first), Guarded(second)
    mine = holder.admit("1", A)
    for replica in (seer, holder):
        replica.start()
        await eventually(lambda replica=replica: replica.bus.is_ready)  # type: ignore[misc]
    await seer.see(OUT, exchange(CLEARED, cookie="session=invented"))
    await eventually(lambda: seer.deny_list.denies_cookie(A, (), seer.clock.now), what="the other's word")
    assert link_of(mine).reason is CloseReason.LOGGED_OUT
    assert len(seer.deny_list) == len(holder.deny_list) == 1
    assert seer.notebook.counts.count(("LogoutDetection", "asked")) == 2
    for replica in (seer, holder):
        await replica.close()


async def test_the_others_are_asked_only_so_often() -> None:
    stream = FakeStream()
    guarded = Guarded(stream)
    guarded.start()
    await eventually(lambda: guarded.bus.is_ready)
    await guarded.see(*(exchange(CLEARED, cookie=f"session={number}") for number in range(500)))
    await eventually(lambda: not len(guarded.bus.followers[0].outbox))
    assert len(stream.stored) == 200
    await guarded.close()


async def test_a_stream_that_is_away_holds_nothing_up_and_is_told_later() -> None:
    stream = FakeStream()
    guarded = Guarded(stream, patience=60.0)
    mine = guarded.admit("1", A)
    guarded.start()
    await eventually(lambda: guarded.bus.is_ready)
    stream.is_away = True
    await eventually(lambda: not guarded.bus.followers[0].is_up)
    async with asyncio.timeout(10):
        await guarded.see(OUT)
    assert link_of(mine).reason is CloseReason.LOGGED_OUT
    stream.is_away = False
    await eventually(lambda: stream.stored)
    assert json.loads(stream.stored[0])["cookie"] == A
    await guarded.close()


async def test_what_the_outbox_has_no_room_for_is_said() -> None:
    guarded = Guarded(FakeStream())
    outbox = guarded.bus.followers[0].outbox
    for _ in range(CAPACITY):
        outbox.put(b"")
    mine = guarded.admit("1", A)
    await guarded.see(OUT)
    assert link_of(mine).reason is CloseReason.LOGGED_OUT
    assert guarded.notebook.losses == [1]


async def test_a_connection_that_cannot_be_cut_is_a_fault_and_stops_nothing() -> None:
    class Broken(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            raise RuntimeError

    guarded = Guarded()
    guarded.admit("1", A).link = Broken()
    too = guarded.admit("2", A)
    await guarded.see(OUT)
    assert link_of(too).reason is CloseReason.LOGGED_OUT
    assert len(guarded.notebook.faults) == 1


async def test_a_bug_is_a_fault_and_no_broken_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = Guarded()

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("wsguard.events.detection.signs", broken)
    assert guarded.detector.notice(Exchange(OUT.request, OUT.effective, 200, Headers())) is None
    assert len(guarded.notebook.faults) == 1
