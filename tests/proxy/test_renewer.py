"""Live connections that go on by a newer credential: which, until when, and what is known of them after that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.proxy.stage import GOLD, ISSUER, SKEW, THERE, spec, stage
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually, stays
from wsguard.policy.model import Enforcement, ExpiryHint, OnReload, Renewal, Session
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import renewer
from wsguard.proxy.timekeeper import TICK
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout, log_out

LOOPS = ["uvloop"]


async def test_a_renewed_connection_outlives_its_first_token_and_ends_with_the_second(
    backend: RecordingBackend,
) -> None:
    async with stage(backend) as here:
        async with here.open(cookie=f"session={here.token('t1', age=10, lives=60)}") as (client, one):
            here.turn(50)
            status, told = await here.renew(cookie=f"session={here.token('t2', lives=600.5)}")
            assert (status, told["connections"]) == (200, 1)
            assert 599 <= told["tokenLifetimeSeconds"] <= 600
            assert here.lives_until(one) == pytest.approx(600, abs=2)
            here.turn(300)
            await stays(lambda: one.link.state == "open", 3 * TICK)
            here.turn(331)
            assert await client.close_frame(deadline=2.0) == (4440, "session-expired")
        ended = await here.house.end()
        assert ended.identity is not None
        assert ended.identity.jti == "t2"
        (record,) = here.house.notebook.renewals
        assert (record.policy, record.by, record.connections, record.cut) == ("test", "renew", 1, 0)


@pytest.mark.parametrize(
    ("claims", "renewed"),
    [
        ({}, 1),
        ({"sub": "bob"}, 0),
        ({"sid": "s2"}, 0),
        ({"sid": None}, 0),
        ({"iat": None}, 0),
        ({"iat": 1.0}, 0),
    ],
    ids=["same", "subject", "sid", "no sid", "no iat", "older"],
)
async def test_only_a_newer_token_of_the_same_session_counts(
    backend: RecordingBackend, claims: dict[str, Any], renewed: int
) -> None:
    async with stage(backend) as here, here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one):
        before = one.expires_at
        status, told = await here.renew(cookie=f"session={here.token('t2', lives=600, **claims)}")
        assert (status, told["connections"]) == (200, renewed)
        assert (one.expires_at != before) is bool(renewed)


async def test_the_very_token_that_a_connection_lives_by_renews_nothing(backend: RecordingBackend) -> None:
    async with stage(backend) as here, here.open(cookie=f"session={here.token('t1', age=10)}"):
        assert (await here.renew(cookie="session=t1"))[1]["connections"] == 0
        assert here.house.notebook.renewals == []


async def test_a_connection_that_is_being_closed_is_not_renewed(backend: RecordingBackend) -> None:
    async with stage(backend) as here, here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one):
        one.link.cut(CloseReason.TERMINATED)
        assert (await here.renew(cookie=f"session={here.token('t2')}"))[1]["connections"] == 0


async def test_source_and_origin_must_be_the_same(backend: RecordingBackend) -> None:
    async with stage(backend) as here:
        old = here.token("t1", age=10)
        async with here.open(cookie=f"session={old}"), here.open(origin=THERE, cookie=f"session={old}") as (_, there):
            new = here.token("t2", lives=600)
            assert (await here.renew(authorization=f"Bearer {new}"))[1]["connections"] == 0
            assert (await here.renew(body={"query": f"access_token={new}"}))[1]["connections"] == 0
            assert (await here.renew(origin=THERE, cookie=f"session={new}"))[1]["connections"] == 1
            assert here.lives_until(there) == pytest.approx(600, abs=2)
            assert (await here.renew(cookie=f"session={new}"))[1]["connections"] == 1


async def test_a_parameter_is_renewed_by_one_in_the_body(backend: RecordingBackend) -> None:
    async with stage(backend) as here, here.open(path=f"/ws?access_token={here.token('t1', age=10)}"):
        new = here.token("t2", lives=600)
        assert (await here.renew(body={"query": f"access_token={new}"}))[1]["connections"] == 1


async def test_a_foreign_page_renews_nothing(backend: RecordingBackend) -> None:
    async with stage(backend) as here, here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one):
        before, new = one.expires_at, here.token("t2", lives=600)
        for origin in ("https://evil.test", "null", None):
            status, told = await here.renew(origin=origin, cookie=f"session={new}")
            assert (status, told["reason"]) == (403, "origin-denied")
        assert (await here.renew())[0] == 401
        assert (await here.renew(cookie="session=nonsense"))[0] == 401
        assert one.expires_at == before


async def test_a_session_that_was_logged_out_is_not_renewed(backend: RecordingBackend) -> None:
    async with stage(backend) as here:
        here.house.deny_list.deny_jti(ISSUER, "t2", here.now)
        async with here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one):
            before = one.expires_at
            status, told = await here.renew(cookie=f"session={here.token('t2', lives=600)}")
            assert (status, told["reason"]) == (401, "logged-out")
            assert one.expires_at == before


@pytest.mark.parametrize("jti", ["t1", "t2"])
async def test_a_log_out_of_its_first_or_its_newest_token_cuts(backend: RecordingBackend, jti: str) -> None:
    async with stage(backend) as here, here.open(cookie=f"session={here.token('t1', age=10)}") as (client, _):
        await here.renew(cookie=f"session={here.token('t2', lives=600)}")
        logout = Logout("jti", jti, ISSUER, here.now)
        assert log_out(logout, here.house.registry, here.house.deny_list, here.now) == 1
        assert await client.close_frame() == (4441, "logged-out")


@pytest.mark.parametrize("named", ["c2", "c3"])
async def test_a_log_out_of_a_cookie_ends_what_lives_by_those_that_it_took_the_place_of(
    backend: RecordingBackend, named: str
) -> None:
    """As where the application is seen to replace a cookie: it is one session, and its older tokens are still good."""
    async with (
        stage(backend) as here,
        here.open(cookie=f"session={here.token('c1', age=20)}") as (client, _),
        here.open(cookie="session=c1", origin=THERE) as (elsewhere, _),
    ):
        for cookie in (here.token("c2", age=10), here.token("c3")):
            assert (await here.renew(cookie=f"session={cookie}"))[1]["connections"] == 1
        house = here.house
        log_out(Logout("cookie", cookie_digest(named), None, 0.0), house.registry, house.deny_list, here.now)
        for each in (client, elsewhere):
            assert await each.close_frame() == (4441, "logged-out")
        for cookie in ("c1", "c2"):
            assert house.deny_list.denies_cookie(cookie_digest(cookie), (), here.now)


async def test_newer_claims_are_judged_by_the_rules_and_a_no_cuts(backend: RecordingBackend) -> None:
    async with stage(backend, authorization=GOLD) as here:
        async with here.open(cookie=f"session={here.token('t1', age=10)}") as (client, _):
            status, told = await here.renew(cookie=f"session={here.token('t2', tier='tin')}")
            assert (status, told["reason"]) == (403, "not-authorized")
            assert await client.close_frame() == (4403, "not-authorized")
        ended = await here.house.end()
        assert ended.reason is CloseReason.NOT_AUTHORIZED
        (record,) = here.house.notebook.renewals
        assert (record.connections, record.cut) == (0, 1)


async def test_where_the_policy_only_audits_a_no_of_the_rules_is_recorded(backend: RecordingBackend) -> None:
    async with (
        stage(backend, authorization=GOLD, enforcement=Enforcement.AUDIT) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        status, told = await here.renew(cookie=f"session={here.token('t2', tier='tin', lives=600)}")
        assert (status, told["connections"]) == (200, 1)
        assert [reason for _, reason in here.house.notebook.spares] == [CloseReason.NOT_AUTHORIZED]
        assert here.lives_until(one) == pytest.approx(600, abs=2)


async def test_no_renewal_goes_beyond_the_greatest_age(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=Session(max_connection_duration=100.0)) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (client, _),
    ):
        here.house.clock.monotonic_offset += 90
        assert (await here.renew(cookie=f"session={here.token('t2', lives=6000)}"))[1]["connections"] == 1
        here.house.clock.monotonic_offset += 10
        assert (await client.close_frame())[1].startswith("max-duration")


async def test_of_two_credentials_the_earlier_end_stays(backend: RecordingBackend) -> None:
    async with stage(backend) as here:
        cookie, header = here.token("c1", age=10, lives=100), here.token("h1", age=10, lives=50)
        async with here.open(cookie=f"session={cookie}", authorization=f"Bearer {header}") as (_, one):
            assert (await here.renew(cookie=f"session={here.token('c2', lives=600)}"))[1]["connections"] == 1
            assert here.lives_until(one) == pytest.approx(50, abs=2)
            new = here.token("h2", lives=300)
            assert (await here.renew(authorization=f"Bearer {new}"))[1]["connections"] == 1
            assert here.lives_until(one) == pytest.approx(300, abs=2)
            assert [who.jti for who in one.identities] == ["c2", "h2"]


async def test_an_earlier_end_counts_as_well(backend: RecordingBackend) -> None:
    """What the newest credential says is what is known of the session."""
    async with (
        stage(backend) as here,
        here.open(cookie=f"session={here.token('t1', age=10, lives=600)}") as (_, one),
    ):
        await here.renew(cookie=f"session={here.token('t2', lives=60)}")
        assert here.lives_until(one) == pytest.approx(60, abs=2)


async def test_a_client_is_told_in_time_and_again_after_a_renewal(backend: RecordingBackend) -> None:
    hint = ExpiryHint(message="renew!", before=30.0)
    async with (
        stage(backend, session=Session(clock_skew=0.0, expiry_hint=hint)) as here,
        here.open(cookie=f"session={here.token('t1', age=10, lives=100)}") as (client, _),
    ):
        far = await backend.conversation()
        await far.send(wire.frame(wire.TEXT, b"one, ", fin=False, masked=False))
        assert (await client.frame()).payload == b"one, "
        here.turn(75)
        await asyncio.sleep(2 * TICK)
        await far.send(wire.frame(wire.CONTINUATION, b"two", masked=False) * 1)
        assert [(await client.frame()).payload for _ in range(2)] == [b"two", b"renew!"]
        await here.renew(cookie=f"session={here.token('t2', lives=20)}")
        here.turn(9)
        await asyncio.sleep(2 * TICK)
        here.turn(2)
        assert (await client.frame()).payload == b"renew!"
        here.turn(10)
        assert await client.close_frame() == (4440, "session-expired")


async def test_a_hint_that_has_to_wait_is_not_given_once_renewed(backend: RecordingBackend) -> None:
    hint = ExpiryHint(message="renew!", before=30.0)
    async with (
        stage(backend, session=Session(clock_skew=0.0, expiry_hint=hint)) as here,
        here.open(cookie=f"session={here.token('t1', age=10, lives=100)}") as (client, _),
    ):
        far = await backend.conversation()
        await far.send(wire.frame(wire.TEXT, b"one, ", fin=False, masked=False))
        await client.frame()
        here.turn(75)
        await asyncio.sleep(2 * TICK)
        await here.renew(cookie=f"session={here.token('t2', lives=900)}")
        await far.send(wire.frame(wire.CONTINUATION, b"two", masked=False) + wire.frame(wire.TEXT, b"3", masked=False))
        assert [(await client.frame()).payload for _ in range(2)] == [b"two", b"3"]


async def test_off_is_off(backend: RecordingBackend) -> None:
    async with (
        stage(backend, session=Session(renewal=Renewal.OFF)) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}"),
    ):
        assert len(here.house.renewer) == 0
        assert (await here.renew(cookie=f"session={here.token('t2')}"))[0] == 404
        assert (await here.renew(origin="https://evil.test", cookie="session=t2"))[0] == 403


async def test_who_asks_again_is_given_the_newer_token_and_no_other(backend: RecordingBackend) -> None:
    async with stage(backend) as here:
        cookie, header = here.token("c1", age=10), here.token("h1", age=10)
        async with here.open(cookie=f"session={cookie}", authorization=f"Bearer {header}") as (_, one):
            await here.renew(cookie=f"session={here.token('c2')}")
            ((connection_id, evidence),) = here.revalidator.renewals
            assert connection_id == one.id
            assert [fact.credential.token for fact in evidence.facts] == ["c2"]


async def test_policies_that_change_judge_the_newer_claims(backend: RecordingBackend) -> None:
    session = Session(clock_skew=SKEW, on_reload=OnReload.REJUDGE)
    async with (
        stage(backend, session=session) as here,
        here.open(cookie=f"session={here.token('t1', age=10)}") as (_, one),
    ):
        await here.renew(cookie=f"session={here.token('t2', lives=600)}")
        here.house.reload(test=spec(session=session, authorization=GOLD))
        await eventually(lambda: here.house.notebook.rejudgements)
        assert here.lives_until(one) == pytest.approx(600, abs=2)
        assert [who.jti for who in one.identities] == ["t2"]
        assert (await here.renew(cookie=f"session={here.token('t3', lives=900)}"))[1]["connections"] == 1
        assert here.lives_until(one) == pytest.approx(900, abs=2)


async def test_a_fault_lets_nobody_stay(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with stage(backend) as here:
        async with here.open(cookie=f"session={here.token('t1', age=10)}") as (client, _):
            monkeypatch.setattr(renewer, "rule_on", fail)
            assert (await here.renew(cookie=f"session={here.token('t2')}"))[0] == 403
            assert (await client.close_frame())[0] == 1011
        here.house.notebook.faults.clear()
