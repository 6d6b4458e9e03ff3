"""Live connections under other policies: who stays, who is cut and how, and that the loop keeps its turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from tests.proxy.house import House
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.policy.credentials import Credential
from wsguard.policy.model import (
    Action,
    Authorization,
    Enforcement,
    ExtractFrom,
    Jwt,
    Match,
    OnReload,
    OriginPattern,
    OriginSpec,
    PolicySpec,
    Rejection,
    Rule,
    Session,
    WebSocketPolicy,
)
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import rejudger
from wsguard.proxy.admission import Admission
from wsguard.sessions.identity import Identity

HERE, ELSEWHERE = "http://localhost", "https://partner.example"
REJUDGE = Session(on_reload=OnReload.REJUDGE)
QUICK = Rejection(close_timeout=0.3)
OPEN = PolicySpec(origin=OriginSpec(allow_origins=(OriginPattern.parse("SameHost"), OriginPattern.parse(ELSEWHERE))))
JWT = Jwt.model_validate(
    {
        "providers": [
            {
                "name": "corp",
                "issuer": "https://idp.test",
                "algorithms": ["HS256"],
                "local_secret_file": "k",
                "extract_from": {"cookies": [{"name": "session"}]},
            }
        ]
    }
)


def spec(base: PolicySpec = OPEN, **parts: Any) -> PolicySpec:
    """`base` with `parts` in place of its own."""
    return base.model_copy(update={"session": REJUDGE, "rejection": QUICK, **parts})


@asynccontextmanager
async def opened(house: House, origin: str = ELSEWHERE, path: str = "/ws", **fields: str) -> AsyncIterator[RawClient]:
    """An admitted client."""
    async with connect(house.port) as client:
        await client.open(wire.upgrade(path, origin=origin, fields=fields.items()))
        yield client


async def test_an_origin_that_is_taken_off_the_list_loses_its_sockets(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house) as foreign, opened(house, HERE) as own:
        house.reload(test=spec(PolicySpec()))
        assert await foreign.close_frame() == (4403, "origin-denied")
        await own.send(wire.frame(wire.TEXT, b"still here"))
        assert (await (await backend.conversation()).frame()).payload == b"still here"
        end = await house.end()
        assert (end.reason, end.initiator, end.policy) == (CloseReason.ORIGIN_DENIED, "guard", "test")
        assert end.detail == f"{ELSEWHERE} is none of: SameHost"
        assert house.notebook.rejudgements == [(2, 1)]


@pytest.mark.parametrize(
    ("others", "close"),
    [
        ({"test": spec(authorization=Authorization(default_action=Action.DENY))}, (4403, "not-authorized")),
        (
            {"test": spec(match=Match.model_validate({"paths": [{"type": "Exact", "value": "/x"}]}))},
            (4404, "no-policy"),
        ),
        ({"other": spec(jwt=JWT)}, (4441, "session-invalid")),
        (
            {"test": spec(PolicySpec(), rejection=Rejection(codes={CloseReason.ORIGIN_DENIED: 4999}))},
            (4999, "origin-denied"),
        ),
    ],
    ids=["rule", "path", "credential", "words"],
)
async def test_what_other_policies_say(
    backend: RecordingBackend, others: dict[str, PolicySpec], close: tuple[int, str]
) -> None:
    async with House(backend, spec()) as house, opened(house) as client:
        house.reload(**others)
        assert await client.close_frame() == close


async def test_connections_of_other_policies_stay(backend: RecordingBackend) -> None:
    keep = spec(session=Session())
    async with House(backend, keep) as house, opened(house):
        assert len(house.rejudger) == 0
        house.reload(test=spec(PolicySpec()))
        await stays(lambda: len(house.registry), 0.3)
        async with opened(house, HERE):
            assert len(house.rejudger) == 1
            house.reload(test=keep)
            await eventually(lambda: house.notebook.rejudgements)
            assert len(house.rejudger) == 0  # they live under a policy now that keeps them


async def test_nothing_is_kept_of_a_connection_that_ended(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house:
        async with opened(house):
            assert len(house.rejudger) == 1
            (await backend.conversation()).close()
            await house.end()
        assert len(house.rejudger) == 0
        house.reload(test=spec(PolicySpec()))
        assert house.notebook.rejudgements == []


async def test_the_same_policies_in_a_new_set_judge_nobody(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house):
        house.reload(test=spec())
        await stays(lambda: not house.notebook.rejudgements, 0.2)


async def test_whoever_stays_lives_under_the_new_policy_and_its_bounds(backend: RecordingBackend) -> None:
    first = spec(session=Session(on_reload=OnReload.REJUDGE, idle_timeout=60.0))
    async with House(backend, first) as house, opened(house) as client:
        house.reload(renamed=spec(session=Session(on_reload=OnReload.REJUDGE, max_connection_duration=3600.0)))
        await eventually(lambda: house.registry.find(policy="renamed"))
        assert house.registry.count_by_policy() == {"renamed": 1}
        house.clock.monotonic_offset += 120.0
        await stays(lambda: len(house.registry), 0.5)  # the idle timeout is gone
        house.clock.monotonic_offset += 3600.0
        code, text = await client.close_frame()
        assert (code, text.split()[0]) == (1012, "max-duration")
        assert (await house.end()).policy == "renamed"


@pytest.mark.parametrize(("skew", "reason"), [(0.0, CloseReason.SESSION_EXPIRED), (600.0, None)])
async def test_the_end_of_a_token_moves_with_the_skew(
    backend: RecordingBackend, skew: float, reason: CloseReason | None
) -> None:
    before = Session(on_reload=OnReload.REJUDGE, clock_skew=300.0)
    async with House(backend, spec(jwt=JWT, session=before)) as house:
        now = house.clock.wall()
        claims = {"iss": "https://idp.test", "sub": "ann", "exp": now + 5}
        house.facts.identity = Identity(
            "corp", "https://idp.test", "ann", "cookie:session", expires_at=now + 5, claims=claims
        )
        async with opened(house, Cookie="session=x") as client:
            (connection,) = house.registry
            assert connection.expires_at == now + 305
            house.reload(test=spec(jwt=JWT, session=before.model_copy(update={"clock_skew": skew})))
            await eventually(lambda: connection.expires_at == now + 5 + skew)
            house.clock.wall_offset += 310.0
            if reason is None:
                await stays(lambda: len(house.registry), 0.5)
            else:
                assert await client.close_frame() == (4440, reason.token)


async def test_whoever_stays_is_found_by_the_sessions_that_the_new_policy_looks_for(backend: RecordingBackend) -> None:
    def reads(*names: str) -> Jwt:
        cookies = {"cookies": [{"name": name} for name in names]}
        (corp,) = JWT.providers
        return Jwt(providers=(corp.model_copy(update={"extract_from": ExtractFrom.model_validate(cookies)}),))

    async with House(backend, spec(jwt=reads("session", "other"))) as house:

        async def facts(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
            return tuple(TokenFact(each, ann(each.name)) for each in credentials)

        def ann(sid: str) -> Identity:
            end = house.clock.wall() + 60
            claims = {"iss": "https://idp.test", "sub": "ann", "sid": sid, "exp": end}
            return Identity("corp", "https://idp.test", "ann", "", sid, expires_at=end, claims=claims)

        house.facts.gather = facts  # type: ignore[method-assign]
        async with opened(house, Cookie="session=x; other=y"):
            assert house.registry.find(sid="session") == house.registry.find(sid="other") == list(house.registry)
            house.reload(test=spec(jwt=reads("session")))
            await eventually(lambda: not house.registry.find(sid="other"))
            assert house.registry.find(sid="session") == list(house.registry)


async def test_a_policy_that_audits_spares(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house):
        house.reload(audited=spec(PolicySpec(), enforcement=Enforcement.AUDIT))
        await eventually(lambda: house.notebook.rejudgements)
        assert [reason for _, reason in house.notebook.spares] == [CloseReason.ORIGIN_DENIED]
        assert house.registry.count_by_policy() == {"audited": 1}
        house.reload(enforced=spec(PolicySpec()))
        assert (await house.end()).reason is CloseReason.ORIGIN_DENIED


@pytest.mark.parametrize("issuer", ["https://other.test", "https://idp.test"])
async def test_what_an_audit_found_wanting_is_not_held_against_whoever_is_admitted_again(
    backend: RecordingBackend, issuer: str
) -> None:
    """A trial of stricter policies, taken back: whom the first ones admit lost nothing in between."""
    corp = JWT.providers[0]
    other = Jwt(providers=(corp.model_copy(update={"issuer": "https://other.test"}),))
    async with House(backend, spec(PolicySpec(), jwt=JWT)) as house:
        ends = house.clock.wall() + 600
        claims = {"iss": "https://idp.test", "sub": "ann", "exp": ends}
        house.facts.identity = Identity(
            "corp", "https://idp.test", "ann", "cookie:session", expires_at=ends, claims=claims
        )
        async with opened(house, HERE, Cookie="session=t"):
            house.reload(audited=spec(PolicySpec(), jwt=other, enforcement=Enforcement.AUDIT))
            await eventually(lambda: house.notebook.spares)
            back = Jwt(providers=(corp.model_copy(update={"issuer": issuer}),))
            house.reload(enforced=spec(PolicySpec(), jwt=back))
            await eventually(lambda: len(house.notebook.rejudgements) == 2)
            assert house.notebook.rejudgements[1] == (1, int(issuer == "https://other.test"))


async def test_a_handshake_that_was_judged_before_the_reload_is_judged_again_behind_it(
    backend: RecordingBackend,
) -> None:
    go_on = asyncio.Event()

    async def answer(conversation: Conversation, head: Head) -> None:
        await go_on.wait()
        await answers.accept()(conversation, head)

    backend.answer = answer
    async with House(backend, spec()) as house, connect(house.port) as client:
        await client.send(wire.upgrade(origin=ELSEWHERE))
        await backend.conversation()
        house.reload(test=spec(PolicySpec()))
        go_on.set()
        assert (await client.head()).status == 101
        assert await client.close_frame() == (4403, "origin-denied")


async def test_policies_that_change_while_they_are_asked_are_asked_again(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house):
        house.reload(test=spec(authorization=Authorization(default_action=Action.ALLOW)))
        house.reload(test=spec(PolicySpec()))
        assert (await house.end()).reason is CloseReason.ORIGIN_DENIED


async def test_a_fault_lets_nobody_stay(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with House(backend, spec()) as house, opened(house) as client:
        monkeypatch.setattr(rejudger, "rejudge", fail)
        house.reload(test=spec(PolicySpec()))
        assert (await client.close_frame())[0] == 1011
        ((where, _),) = house.notebook.faults
        assert where == "judging a connection again"
        house.notebook.faults.clear()


class Crowd:
    """Connections with nothing behind them; counts what is done to them."""

    def __init__(self, policy: WebSocketPolicy) -> None:
        self.policy = policy
        self.moved = 0

    def move(self, *_: object) -> None:
        self.moved += 1


async def test_many_are_judged_in_handfuls_and_others_have_their_turn_between(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house):
        ((admission, case),) = house.rejudger._kept.values()
        crowd = cast("Admission", Crowd(admission.policy))
        house.rejudger._kept.update({str(number): (crowd, case) for number in range(1000)})
        turns = 0

        async def count() -> None:
            nonlocal turns
            while not house.notebook.rejudgements:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        house.reload(test=spec(authorization=Authorization(rules=(Rule(action=Action.ALLOW),))))
        await eventually(lambda: house.notebook.rejudgements)
        await counting
        assert house.notebook.rejudgements == [(1001, 0)]
        assert cast("Any", crowd).moved == 1000
        assert turns > 1000 // rejudger.HANDFUL
        for number in range(1000):
            house.rejudger.forget(str(number))


async def test_closing_ends_the_work(backend: RecordingBackend) -> None:
    async with House(backend, spec()) as house, opened(house):
        house.reload(test=spec(PolicySpec()))
        await house.rejudger.close()
        assert len(house.registry) == 1
