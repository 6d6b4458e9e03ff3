"""Live connections, real services, and a clock that the test turns; no socket to a client is needed for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.identity.asked import Asked, AskedService, reply
from tests.identity.key_server import HandClock
from tests.identity.parties import FILES, World, approved, credential, introspected, question
from tests.support.waiting import eventually, stays
from wsguard.identity import exchange, revalidator
from wsguard.identity.exchange import new_session
from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import Introspector
from wsguard.identity.jwks import JwksCache
from wsguard.identity.revalidator import Revalidator
from wsguard.identity.verifier import TokenVerifier
from wsguard.policy.evidence import Evidence
from wsguard.policy.forward_auth import Approval
from wsguard.policy.model import Session, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.identity import Identity

YES_TOKEN = reply({"active": True, "sub": "ann"})
YES_APP = reply({"user": {"id": "ann"}})
EVERY = 100.0


@dataclass
class FakeLink:
    """A connection that notes its cut, and ends at once as a splice may."""

    ward: Ward
    id: str
    cuts: list[tuple[CloseReason, str]] = field(default_factory=list)
    state: str = "open"
    last_message_at: float = 0.0

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        self.cuts.append((reason, detail))
        self.ward.revalidator.leave(self.id)

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        raise AssertionError

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        pass

    def traffic(self) -> Traffic:
        return Traffic(0, 0, 0, 0)


class Ward:
    """A revalidator, the inquiry it uses, and connections under `policy`."""

    def __init__(self, world: World, policy: WebSocketPolicy, seed: int = 1) -> None:
        self.world, self.policy = world, policy
        self.inquiry = self.inquiry_under(policy)
        self.faults: list[tuple[str, BaseException]] = []
        self.revalidator = Revalidator(
            lambda: self.inquiry, world.clock, Random(seed), lambda where, error: self.faults.append((where, error))
        )
        self.count = 0

    def inquiry_under(self, policy: WebSocketPolicy) -> Inquiry:
        policies = PolicySet((policy,))
        jwks = JwksCache(self.world.session, self.world.clock, lambda *_: None)
        introspector = Introspector(policies, FILES, *self.world.asking())
        authorizer = ForwardAuthorizer(policies, FILES, *self.world.asking())
        return Inquiry(TokenVerifier(jwks, {}, self.world.clock), introspector, authorizer)

    async def admit(self, name: str = "s1", policy: WebSocketPolicy | None = None) -> FakeLink:
        """A connection of the session `name`, admitted by asking."""
        self.count += 1
        link = FakeLink(self, f"c{self.count}")
        self.revalidator.enter(link.id, link, await self.evidence(name, policy or self.policy))
        return link

    async def evidence(self, name: str, under: WebSocketPolicy, target: str = "/ws") -> Evidence:
        """What a request to `target` of the session `name` shows."""
        if under.spec.introspection is not None:
            facts = await self.inquiry.gather(under, (credential(name),))
            assert isinstance(facts[0].outcome, Identity), facts[0].outcome
            return Evidence(under, facts)
        put = question(under, ("Cookie", f"session={name}"), target=target)
        approval = self.inquiry.recall(put) or await self.inquiry.ask(put)
        assert isinstance(approval, Approval)
        return Evidence(under, (), put, approval)

    async def renew(self, link: FakeLink, name: str) -> None:
        """Show a newer credential for a connection, on another path."""
        self.revalidator.renew(link.id, link, await self.evidence(name, self.policy, "/renew"))

    async def pass_by(self, seconds: float) -> None:
        """Turn the clock, and let all that is due be asked and answered."""
        self.world.clock.pass_by(seconds)
        self.revalidator.check()
        await eventually(lambda: not self.revalidator._asking, what="the answers")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_session() as session:
        yield World(session, HandClock())


@pytest.fixture(params=["introspection", "forwardAuth"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[AskedService]:
    """Says yes."""
    async with AskedService(YES_TOKEN if request.param == "introspection" else YES_APP) as running:
        running.kind = request.param  # type: ignore[attr-defined]
        yield running


def under(service: AskedService, grace: float | None = None, **fields: Any) -> WebSocketPolicy:
    session = Session(revalidate_every=EVERY, revalidate_grace=grace)
    make = introspected if service.kind == "introspection" else approved  # type: ignore[attr-defined]
    return make(service.url, session, **fields)


def no(service: AskedService) -> Any:
    return reply({"active": False}) if service.kind == "introspection" else reply(status=401)  # type: ignore[attr-defined]


async def test_asks_again_within_the_interval_and_then_each_interval(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    for expected in range(2, 12):
        await ward.pass_by(EVERY)
        assert len(service.asked) == expected
    assert link.cuts == []


async def test_one_question_a_credential_however_many_connections(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    links = [await ward.admit("s1") for _ in range(20)] + [await ward.admit("s2")]
    assert len(service.asked) == 2
    assert len(ward.revalidator) == 2
    await ward.pass_by(EVERY)
    assert len(service.asked) == 4
    service.reply = no(service)
    await ward.pass_by(EVERY)
    assert len(service.asked) == 6
    assert [[reason for reason, _ in link.cuts] for link in links] == [[CloseReason.SESSION_INVALID]] * 21
    assert len(ward.revalidator) == 0


async def test_a_remembered_yes_is_not_an_answer(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service, cache_duration=10_000.0))
    link = await ward.admit()
    service.reply = no(service)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]


async def test_it_goes_on_after_a_log_out_of_somebody(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    world.logouts += 1
    await ward.pass_by(EVERY)
    assert link.cuts == []
    service.reply = no(service)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]


async def test_one_who_became_somebody_else_is_cut(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    service.reply = reply({"active": True, "sub": "bob", "user": {"id": "bob"}})
    await ward.pass_by(EVERY)
    ((reason, detail),) = link.cuts
    assert reason is CloseReason.SESSION_INVALID
    assert "somebody else" in detail
    assert "bob" not in detail


async def test_no_answer_keeps_for_the_grace_and_then_cuts(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service, grace=40.0))
    link = await ward.admit()
    service.reply = reply(status=503)
    await ward.pass_by(EVERY)
    assert link.cuts == []
    for _ in range(60):
        await ward.pass_by(1.0)
        if link.cuts:
            break
    ((reason, detail),) = link.cuts
    assert reason is CloseReason.IDENTITY_UNAVAILABLE
    assert "40 s" in detail


async def test_the_grace_is_the_interval_where_none_is_declared(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    service.reply = reply(b"garbage")
    passed = 0.0
    while not link.cuts:
        await ward.pass_by(5.0)
        passed += 5.0
    assert EVERY <= passed <= 2 * EVERY + 10.0


async def test_without_grace_the_first_failure_cuts(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service, grace=0.0))
    link = await ward.admit()
    await ward.pass_by(EVERY)
    assert link.cuts == []
    service.reply = reply(status=500)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.IDENTITY_UNAVAILABLE]


async def test_a_service_that_is_back_within_the_grace_loses_nobody(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service, grace=60.0))
    links = [await ward.admit(f"s{number}") for number in range(20)]
    good, service.reply = service.reply, reply(status=500)
    await ward.pass_by(EVERY)
    for _ in range(10):
        await ward.pass_by(3.0)
    service.reply = good
    for _ in range(200):
        await ward.pass_by(3.0)
    assert all(link.cuts == [] for link in links)


async def test_one_that_hangs_is_given_up_at_the_end_of_the_grace(
    service: AskedService, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT", 60.0)
    ward = Ward(world, under(service, grace=10.0))
    link = await ward.admit()
    service.gate.clear()
    world.clock.pass_by(EVERY)
    ward.revalidator.check()
    await eventually(lambda: service.under_way, what="the question")
    world.clock.pass_by(EVERY)
    ward.revalidator.check()
    assert [reason for reason, _ in link.cuts] == [CloseReason.IDENTITY_UNAVAILABLE]
    service.gate.set()
    await ward.pass_by(0.0)
    assert len(ward.revalidator) == 0


async def test_who_comes_while_a_question_is_under_way_is_not_cut_by_its_answer(
    service: AskedService, world: World
) -> None:
    ward = Ward(world, under(service, cache_duration=10_000.0))
    old = await ward.admit()
    service.reply = no(service)
    service.gate.clear()
    world.clock.pass_by(EVERY)
    ward.revalidator.check()
    await eventually(lambda: service.under_way, what="the question")
    new = await ward.admit()  # judged meanwhile, and admitted
    service.gate.set()
    await ward.pass_by(0.0)
    assert [reason for reason, _ in old.cuts] == [CloseReason.SESSION_INVALID]
    assert new.cuts == []
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in new.cuts] == [CloseReason.SESSION_INVALID]


def shown(asked: Asked) -> str | None:
    """The session that a service was asked about."""
    return asked.form.get("token") or (asked.header("cookie") or "").removeprefix("session=") or None


async def test_once_renewed_the_newer_credential_is_asked_about_and_no_other(
    service: AskedService, world: World
) -> None:
    ward = Ward(world, under(service))
    link, other = await ward.admit("s1"), await ward.admit("s1")
    await ward.renew(link, "s2")
    assert len(ward.revalidator) == 2
    service.asked.clear()
    yes = service.reply

    async def answer(asked: Asked) -> web.StreamResponse:
        return await (no(service) if shown(asked) == "s1" else yes)(asked)

    service.reply = answer
    await ward.pass_by(EVERY)
    assert sorted(filter(None, map(shown, service.asked))) == ["s1", "s2"]
    assert {asked.header("x-forwarded-uri") for asked in service.asked} <= {None, "/ws"}, "as it was opened"
    assert (link.cuts, [reason for reason, _ in other.cuts]) == ([], [CloseReason.SESSION_INVALID])
    ward.revalidator.leave(link.id)
    assert len(ward.revalidator) == 0


async def test_an_answer_about_what_it_lived_by_before_does_not_cut(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service, cache_duration=10_000.0))
    link = await ward.admit("s1")
    newer = await ward.evidence("s2", ward.policy)
    yes, service.reply = service.reply, no(service)
    service.gate.clear()
    world.clock.pass_by(EVERY)
    ward.revalidator.check()
    await eventually(lambda: service.under_way, what="the question")
    ward.revalidator.renew(link.id, link, newer)
    service.gate.set()
    await ward.pass_by(0.0)
    assert link.cuts == []
    service.reply = yes
    await ward.pass_by(EVERY)
    assert link.cuts == []


async def test_a_token_that_can_be_read_takes_the_place_of_one_that_cannot_and_the_other_way_round(
    service: AskedService, world: World
) -> None:
    ward = Ward(world, under(service))
    if ward.policy.spec.introspection is None:
        return
    link, opaque = await ward.admit("s1"), await ward.evidence("s2", ward.policy)
    read = replace(opaque.facts[0], outcome=Identity("jwt", "https://idp", "ann", "cookie:session"))
    ward.revalidator.renew(link.id, link, replace(opaque, facts=(read,)))
    assert len(ward.revalidator) == 0
    ward.revalidator.renew(link.id, link, opaque)
    assert len(ward.revalidator) == 1
    ward.revalidator.leave(link.id)
    assert len(ward.revalidator) == 0


async def test_secrets_go_with_the_last_connection(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    one, two = await ward.admit(), await ward.admit()
    ward.revalidator.leave(one.id)
    assert len(ward.revalidator) == 1
    ward.revalidator.leave(two.id)
    ward.revalidator.leave("unknown")
    assert len(ward.revalidator) == 0
    assert "s1" not in repr(vars(ward.revalidator))
    before = len(service.asked)
    await ward.pass_by(10 * EVERY)
    assert len(service.asked) == before


async def test_questions_are_spread_over_the_interval(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    for number in range(200):
        await ward.admit(f"s{number}")
    service.asked.clear()
    counts = []
    for _ in range(10):
        await ward.pass_by(EVERY / 10)
        counts.append(len(service.asked))
        service.asked.clear()
    assert sum(counts) >= 200  # each is due within the interval; a few are due a second time
    assert max(counts) < 45


async def test_after_a_reload_the_new_settings_are_asked_with(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    async with AskedService(service.reply) as other:
        other.kind = service.kind  # type: ignore[attr-defined]
        ward.inquiry = ward.inquiry_under(under(other))
        await ward.pass_by(EVERY)
        assert len(other.asked) == 1
        other.reply = no(service)
        await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]


async def test_after_a_reload_without_the_policy_the_old_service_is_asked(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    link = await ward.admit()
    ward.inquiry = ward.inquiry_under(introspected("http://127.0.0.1:1/", name="another"))
    await ward.pass_by(EVERY)
    assert link.cuts == []
    service.reply = no(service)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]


async def test_a_policy_that_went_before_its_connection_came_is_in_doubt(service: AskedService, world: World) -> None:
    policy = under(service, grace=0.0)
    ward = Ward(world, policy)
    facts = await ward.inquiry.gather(policy, (credential(),))
    put = question(policy, ("Cookie", "session=s1")) if policy.spec.forward_auth else None
    approval = await ward.inquiry.ask(put) if put else None
    ward.inquiry = ward.inquiry_under(introspected("http://127.0.0.1:1/", name="another"))
    link = FakeLink(ward, "c1")
    given = facts if policy.spec.introspection else ()
    yes = approval if isinstance(approval, Approval) else None
    ward.revalidator.enter("c1", link, Evidence(policy, given, put, yes))
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.IDENTITY_UNAVAILABLE]


async def test_a_connection_that_cannot_be_cut_saves_no_other(service: AskedService, world: World) -> None:
    ward = Ward(world, under(service))
    broken, link = await ward.admit(), await ward.admit()

    def cut(reason: CloseReason, detail: str = "") -> None:
        raise RuntimeError("a bug")

    broken.cut = cut  # type: ignore[method-assign]
    service.reply = no(service)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]
    assert len(ward.faults) == 1


async def test_a_bug_cannot_tell_either(service: AskedService, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(world, under(service, grace=0.0))
    link = await ward.admit()

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(exchange.Line, "exchange", broken)
    await ward.pass_by(EVERY)
    assert [reason for reason, _ in link.cuts] == [CloseReason.IDENTITY_UNAVAILABLE]
    assert len(ward.faults) == 1


async def test_nobody_is_asked_again_where_the_policy_does_not_want_it(service: AskedService, world: World) -> None:
    policy = under(service)
    spec = policy.spec.model_copy(update={"session": Session()})
    ward = Ward(world, policy.model_copy(update={"spec": spec}))
    await ward.admit()
    assert len(ward.revalidator) == 0


async def test_a_verified_jwt_is_not_asked_about(world: World) -> None:
    async with AskedService(YES_TOKEN) as service:
        policy = introspected(service.url, Session(revalidate_every=EVERY))
        ward = Ward(world, policy)
        who = Identity("corp", "https://idp.example.test", "ann", "cookie:session")
        link = FakeLink(ward, "c1")
        ward.revalidator.enter("c1", link, Evidence(policy, (TokenFact(credential(), who),)))
        assert len(ward.revalidator) == 0


async def test_runs_by_itself(service: AskedService, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revalidator, "TICK", 0.01)
    ward = Ward(world, under(service))
    link = await ward.admit()
    running = asyncio.create_task(ward.revalidator.run())
    world.clock.pass_by(EVERY)
    await eventually(lambda: len(service.asked) == 2, what="a second question")
    await stays(lambda: not link.cuts, 0.1)
    service.reply = no(service)
    world.clock.pass_by(EVERY)
    await eventually(lambda: link.cuts, what="the cut")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_service_that_hangs_holds_up_no_other(world: World) -> None:
    """Its questions would take all the slots, time after time, and cut who lives by a service that is well."""
    session = Session(revalidate_every=EVERY, revalidate_grace=EVERY)
    async with AskedService(YES_TOKEN) as hanging, AskedService(YES_APP) as well:
        ill, healthy = introspected(hanging.url, session), approved(well.url, session, max_concurrent=2)
        ward = Ward(world, ill)
        for number in range(70):
            await ward.admit(f"ill-{number}")
        ward.inquiry = ward.inquiry_under(healthy)
        links = [await ward.admit(f"well-{number}", healthy) for number in range(3)]
        hanging.gate.clear()
        asked, hanging.most_at_once, well.most_at_once = len(well.asked), 0, 0
        world.clock.pass_by(EVERY)
        ward.revalidator.check()
        await eventually(lambda: len(well.asked) == asked + 3, what="the answers of the service that is well")
        await eventually(lambda: hanging.under_way == 32, what="half of the questions that may be under way")
        assert (hanging.most_at_once, well.most_at_once) == (32, 1), "the other half is for handshakes"
        assert not any(link.cuts for link in links)


async def test_a_token_that_is_of_another_session_now_cuts(world: World) -> None:
    async with AskedService(reply({"active": True, "sub": "ann", "sid": "s1"})) as service:
        ward = Ward(world, introspected(service.url, Session(revalidate_every=EVERY)))
        link = await ward.admit()
        service.reply = reply({"active": True, "sub": "ann", "sid": "s2"})
        await ward.pass_by(EVERY)
        assert [reason for reason, _ in link.cuts] == [CloseReason.SESSION_INVALID]
