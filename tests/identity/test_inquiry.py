"""Which token goes to whom, where JWT and introspection providers read the same place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.identity.asked import AskedService, reply
from tests.identity.parties import FILES, World, approved, credential, opaque, policy, question
from tests.policy.minting import CLAIMS, ISSUER, NOW, SECRET, mint
from wsguard.identity.exchange import new_session
from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import Introspector
from wsguard.identity.jwks import JwksCache
from wsguard.identity.verifier import TokenVerifier
from wsguard.policy.decision import Refuse
from wsguard.policy.keys import KeySet
from wsguard.policy.model import Algorithm, ExtractFrom, Introspection, Jwt, JwtProvider, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity, cookie_digest

BOTH = ("corp", "opaque")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_session() as session:
        yield World(session)


@pytest.fixture
async def service() -> AsyncIterator[AskedService]:
    async with AskedService(reply({"active": True, "sub": "bob", "iss": "https://opaque.example.test"})) as running:
        yield running


def under(service: AskedService, issuer: str | None = ISSUER, **fields: Any) -> WebSocketPolicy:
    """A policy in which both read the cookie `session`."""
    cookie = ExtractFrom.model_validate({"cookies": ["session"]})
    corp = JwtProvider(
        name="corp", issuer=issuer, audiences=("chat",), algorithms=(Algorithm.HS256,),
        local_secret_file="hmac.key", extract_from=cookie,
    )  # fmt: skip
    return policy(jwt=Jwt(providers=(corp,)), introspection=Introspection(providers=(opaque(service.url, **fields),)))


def inquiry(world: World, policy: WebSocketPolicy) -> Inquiry:
    jwks = JwksCache(world.session, world.clock, lambda *_: None)
    tokens = TokenVerifier(jwks, {"hmac.key": KeySet.from_secret(SECRET)}, world.clock)
    policies = PolicySet((policy,))
    asking = world.asking()
    return Inquiry(tokens, Introspector(policies, FILES, *asking), ForwardAuthorizer(policies, FILES, *asking))


async def outcome(
    world: World, policy: WebSocketPolicy, token: str, providers: tuple[str, ...] = BOTH
) -> Identity | TokenProblem:
    (fact,) = await inquiry(world, policy).gather(policy, (credential(token, providers),))
    return fact.outcome


async def test_a_jwt_of_its_issuer_is_verified_and_not_asked_about(world: World, service: AskedService) -> None:
    who = await outcome(world, under(service), mint("HS256"))
    assert isinstance(who, Identity)
    assert (who.provider, who.subject) == ("corp", "ann")
    assert service.asked == []


async def test_a_bad_jwt_of_its_issuer_is_not_asked_about_either(world: World, service: AskedService) -> None:
    for token in (mint("HS256")[:-4] + "AAAA", mint("HS256", {**CLAIMS, "exp": NOW - 600})):
        assert isinstance(await outcome(world, under(service), token), TokenProblem)
    assert service.asked == []


@pytest.mark.parametrize("token", ["opaque", "a.b.c", mint("HS256", {**CLAIMS, "iss": "https://other.example"})])
async def test_everything_else_is_asked_about(world: World, service: AskedService, token: str) -> None:
    who = await outcome(world, under(service), token)
    assert isinstance(who, Identity)
    assert (who.provider, who.subject) == ("opaque", "bob")
    assert [asked.form for asked in service.asked] == [{"token": token}]


async def test_without_an_issuer_every_jwt_is_the_jwt_providers(world: World, service: AskedService) -> None:
    who = await outcome(world, under(service, issuer=None), mint("HS256", {**CLAIMS, "iss": "https://other.example"}))
    assert isinstance(who, Identity)
    assert who.provider == "corp"


async def test_a_place_that_only_one_reads_is_that_ones(world: World, service: AskedService) -> None:
    problem = await outcome(world, under(service), "opaque", ("corp",))
    assert isinstance(problem, TokenProblem)
    assert service.asked == []
    assert isinstance(await outcome(world, under(service), mint("HS256"), ("opaque",)), Identity)
    assert len(service.asked) == 1


async def test_what_is_remembered_needs_no_waiting(world: World, service: AskedService) -> None:
    policy = under(service)
    asks = inquiry(world, policy)
    presented = (credential("opaque", BOTH), credential(mint("HS256"), BOTH))
    assert asks.cached(policy, presented) is None
    facts = await asks.gather(policy, presented)
    assert asks.cached(policy, presented) == facts
    assert asks.cached(policy, (*presented, credential("another", BOTH))) is None


async def test_a_yes_is_not_remembered_beyond_the_tokens_exp(world: World, service: AskedService) -> None:
    policy = under(service, cache_duration=1000.0)
    asks = inquiry(world, policy)
    service.reply = reply({"active": True, "sub": "bob", "exp": NOW + 5})
    await asks.gather(policy, (credential("opaque"),))
    world.clock.pass_by(4.9)
    assert asks.cached(policy, (credential("opaque"),)) is not None
    world.clock.pass_by(0.2)
    assert asks.cached(policy, (credential("opaque"),)) is None


async def test_the_guard_says_who_it_is_as_the_rfc_wants(world: World, service: AskedService) -> None:
    """RFC 6749 §2.3.1: name and secret are form-encoded before they are joined."""
    await outcome(world, under(service), "t&k=n +", ("opaque",))
    (asked,) = service.asked
    assert asked.method == "POST"
    assert asked.form == {"token": "t&k=n +"}
    assert asked.header("Authorization") == "Basic Z3VhcmQ6czNjcmV0"  # guard:s3cret
    assert asked.header("Content-Type") == "application/x-www-form-urlencoded"
    assert {name.lower() for name, _ in asked.headers} == {
        "host", "accept", "authorization", "content-type", "content-length",
    }  # fmt: skip


async def test_of_two_servers_the_first_that_knows_the_token_decides(world: World, service: AskedService) -> None:
    async with AskedService(reply({"active": False})) as first:
        providers = (opaque(first.url, name="one"), opaque(service.url, name="two"))
        policy_of_two = policy(introspection=Introspection(providers=providers))
        who = await outcome(world, policy_of_two, "t", ("one", "two"))
        assert isinstance(who, Identity)
        assert who.provider == "two"
        service.reply = reply({"active": False})
        problem = await outcome(world, policy_of_two, "t", ("one", "two"))
        assert isinstance(problem, TokenProblem)
        assert problem.reason is CloseReason.CREDENTIAL_INVALID
        first.reply = reply(status=500)
        problem = await outcome(world, policy_of_two, "t", ("one", "two"))
        assert isinstance(problem, TokenProblem)
        assert problem.reason is CloseReason.IDENTITY_UNAVAILABLE


async def test_a_policy_that_a_reload_took_away_admits_nobody(world: World, service: AskedService) -> None:
    gone = question(approved(service.url), ("Cookie", "a=1"))
    asks = inquiry(world, under(service))
    assert asks.recall(gone) is None
    answer = await asks.ask(gone)
    assert isinstance(answer, Refuse)
    assert answer.reason is CloseReason.IDENTITY_UNAVAILABLE


async def test_whoever_vouches_a_cookie_can_be_logged_out_by_it(world: World, service: AskedService) -> None:
    """An opaque cookie too, which has no claim to find its connections by."""
    for token in ("opaque-cookie", mint("HS256")):
        who = await outcome(world, under(service), token)
        assert isinstance(who, Identity)
        assert who.cookie == cookie_digest(token)
