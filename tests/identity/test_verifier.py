from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.identity.conftest import Results
from tests.identity.key_server import HandClock, KeyServer, document
from tests.policy.minting import ISSUER, SECRET, claims_with, forge, jwks, mint, provider, public_jwk
from tests.support.waiting import eventually
from wsguard.identity import verifier as module
from wsguard.identity.jwks import JwksCache
from wsguard.identity.verifier import MAX_REMEMBERED, TokenVerifier
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.keys import KeySet
from wsguard.policy.model import JwtProvider, Metadata, PolicySpec, WebSocketPolicy
from wsguard.policy.model_jwt import Jwt
from wsguard.policy.tokens import TokenProblem, accept_again, verify
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity, cookie_digest

LOCAL: Mapping[str, KeySet] = {
    "/keys/secret": KeySet.from_secret(SECRET),
    "/keys/jwks": KeySet.from_jwks(jwks(public_jwk("ES256"))),
}


def policy(*providers: JwtProvider, name: str = "chat") -> WebSocketPolicy:
    return WebSocketPolicy(metadata=Metadata(name=name), spec=PolicySpec(jwt=Jwt(providers=providers)))


def secret(name: str = "corp", **fields: Any) -> JwtProvider:
    return provider("HS256", name=name, local_secret_file="/keys/secret", **fields)


def remote(server: KeyServer, name: str = "corp", **fields: Any) -> JwtProvider:
    return provider("ES256", name=name, remote_jwks={"uri": server.uri}, **fields)


def cookie(token: str, *providers: str, name: str = "session") -> Credential:
    return Credential(Kind.COOKIE, name, providers or ("corp",), True, token)


@pytest.fixture
def verifier(cache: JwksCache, clock: HandClock) -> TokenVerifier:
    return TokenVerifier(cache, LOCAL, clock)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every time that a signature had to be checked: the provider's name."""
    calls: list[str] = []

    def counting(token: Any, by: JwtProvider, *args: Any, **kwargs: Any) -> Identity | TokenProblem:
        calls.append(by.name)
        return verify(token, by, *args, **kwargs)

    monkeypatch.setattr(module, "verify", counting)
    return calls


async def ask(verifier: TokenVerifier, by: WebSocketPolicy, credential: Credential) -> Identity | TokenProblem:
    (fact,) = await verifier.gather(by, [credential])
    assert fact.credential is credential
    return fact.outcome


async def identity(verifier: TokenVerifier, by: WebSocketPolicy, credential: Credential) -> Identity:
    outcome = await ask(verifier, by, credential)
    assert isinstance(outcome, Identity), outcome
    return outcome


async def problem(verifier: TokenVerifier, by: WebSocketPolicy, credential: Credential) -> TokenProblem:
    outcome = await ask(verifier, by, credential)
    assert isinstance(outcome, TokenProblem), outcome
    return outcome


# Whose token, whose keys.


async def test_each_credential_has_its_fact_in_order(verifier: TokenVerifier) -> None:
    by = policy(secret(), provider("ES256", name="local", local_jwks={"file": "/keys/jwks"}))
    shown = [cookie(forge(claims_with())), cookie("bad", name="b"), cookie(mint("ES256"), "local", name="c")]
    facts = await verifier.gather(by, shown)
    assert [fact.credential for fact in facts] == shown
    assert isinstance(facts[0].outcome, Identity)
    assert isinstance(facts[1].outcome, TokenProblem)
    assert isinstance(facts[2].outcome, Identity)
    assert (facts[2].outcome.provider, facts[2].outcome.source) == ("local", "cookie:c")
    assert await verifier.gather(by, []) == ()


async def test_who_came_with_a_cookie_is_found_by_it_also_after_a_reload(verifier: TokenVerifier) -> None:
    token = forge(claims_with())
    by = policy(secret())
    who = await identity(verifier, by, cookie(token))
    assert who.cookie == cookie_digest(token)
    again = accept_again(who, secret())
    assert isinstance(again, Identity)
    assert again.cookie == who.cookie
    in_header = Credential(Kind.HEADER, "authorization", ("corp",), True, token)
    assert (await identity(verifier, by, in_header)).cookie is None


async def test_it_vouches_for_a_token_only_where_that_needs_no_waiting(
    verifier: TokenVerifier, server: KeyServer
) -> None:
    good, bad = cookie(forge(claims_with())), cookie("bad")
    who = verifier.vouch(policy(secret()), good)
    assert who is not None
    assert who.cookie == cookie_digest(good.token)
    assert verifier.vouch(policy(secret()), bad) is None
    assert verifier.vouch(policy(remote(server)), cookie(mint("RS256"))) is None


async def test_keys_that_are_published_are_fetched_for_the_first_token(
    verifier: TokenVerifier, server: KeyServer
) -> None:
    by = policy(remote(server))
    shown = cookie(mint("ES256"))
    assert verifier.cached(by, [shown]) is None
    assert (await identity(verifier, by, shown)).subject == "ann"
    assert verifier.cached(by, [shown]) is not None
    assert len(server.fetches) == 1


async def test_with_its_keys_at_hand_nothing_is_waited_for(verifier: TokenVerifier) -> None:
    by = policy(secret())
    waiting = verifier.gather(by, [cookie(forge(claims_with()))])
    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_no_network_is_troubled_by_what_is_no_token(verifier: TokenVerifier, server: KeyServer) -> None:
    by = policy(remote(server))
    for token in ("", "a.b.c", forge(claims_with(), {"alg": "none"}) + "="):
        assert (await problem(verifier, by, cookie(token))).reason is CloseReason.CREDENTIAL_INVALID
    assert server.fetches == []


async def test_of_several_readers_the_issuer_chooses(verifier: TokenVerifier, verified: list[str]) -> None:
    by = policy(secret("a", issuer="https://a.test"), secret("b", issuer="https://b.test"))
    shown = cookie(forge(claims_with(iss="https://b.test")), "a", "b")
    assert (await identity(verifier, by, shown)).provider == "b"
    assert verified == ["b"]
    stranger = await problem(verifier, by, cookie(forge(claims_with(iss="https://c.test")), "a", "b"))
    assert stranger.detail == "iss 'https://c.test' is of no provider that reads this place"
    nobody = await problem(verifier, by, cookie(forge(claims_with(iss=None)), "a", "b"))
    assert nobody.detail == "no iss is of no provider that reads this place"
    assert nobody.reason is stranger.reason is CloseReason.CREDENTIAL_INVALID
    assert verified == ["b"]


async def test_a_reader_that_checks_no_issuer_takes_what_no_other_claims(verifier: TokenVerifier) -> None:
    by = policy(secret("any", issuer=None), secret("a", issuer="https://a.test"))
    for issuer, name in (("https://a.test", "a"), ("https://b.test", "any"), (None, "any")):
        assert (await identity(verifier, by, cookie(forge(claims_with(iss=issuer)), "any", "a"))).provider == name


async def test_a_provider_that_does_not_read_the_place_is_not_asked(verifier: TokenVerifier) -> None:
    by = policy(secret("a", issuer="https://a.test"), secret("b"))
    assert isinstance(await ask(verifier, by, cookie(forge(claims_with()), "a")), TokenProblem)
    assert isinstance(await ask(verifier, by, cookie(forge(claims_with()), "b")), Identity)


async def test_of_several_answers_the_most_telling_is_given(verifier: TokenVerifier, server: KeyServer) -> None:
    server.answer = document(b"", 503)
    strict, lax = secret("strict", audiences=("other",)), secret("lax")
    old = cookie(forge(claims_with(exp=1)), "strict", "lax", "away")
    assert (await problem(verifier, policy(strict, lax), old)).reason is CloseReason.CREDENTIAL_EXPIRED
    away = policy(strict, remote(server, "away"), lax)
    assert (await problem(verifier, away, old)).reason is CloseReason.IDENTITY_UNAVAILABLE
    assert isinstance(await ask(verifier, away, cookie(forge(claims_with()), "strict", "lax", "away")), Identity)


# Remembering.


async def test_a_good_token_is_verified_once(verifier: TokenVerifier, verified: list[str]) -> None:
    by = policy(secret())
    shown = cookie(forge(claims_with()))
    first = await identity(verifier, by, shown)
    assert await identity(verifier, by, shown) is first
    assert verified == ["corp"]
    assert (await identity(verifier, by, cookie(shown.token, name="other"))).source == "cookie:other"


async def test_a_bad_token_is_not_remembered(verifier: TokenVerifier, clock: HandClock) -> None:
    by = policy(secret())
    early = cookie(forge(claims_with(nbf=clock.at + 31)))
    assert "not valid yet" in (await problem(verifier, by, early)).detail
    clock.pass_by(1)
    assert await identity(verifier, by, early)


async def test_a_token_is_remembered_no_longer_than_it_lives(
    verifier: TokenVerifier, clock: HandClock, verified: list[str]
) -> None:
    by = policy(secret())
    shown = cookie(forge(claims_with(exp=clock.at + 10)))
    await identity(verifier, by, shown)
    clock.pass_by(39.9)
    await identity(verifier, by, shown)
    assert verified == ["corp"]
    clock.pass_by(0.1)
    assert (await problem(verifier, by, shown)).reason is CloseReason.CREDENTIAL_EXPIRED
    clock.pass_by(-3600)
    assert "in the future" in (await problem(verifier, by, shown)).detail, "the clock was set back"


async def test_a_remembered_token_is_not_good_before_its_time(verifier: TokenVerifier, clock: HandClock) -> None:
    by = policy(secret())
    shown = cookie(forge(claims_with(nbf=clock.at)))
    await identity(verifier, by, shown)
    clock.pass_by(-31)
    assert "not valid yet" in (await problem(verifier, by, shown)).detail, "the clock was set back"


async def test_a_withdrawn_key_forgets_its_tokens(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock, verified: list[str]
) -> None:
    by = policy(remote(server))
    shown = cookie(mint("ES256"))
    await identity(verifier, by, shown)
    clock.pass_by(300)
    await identity(verifier, by, shown)
    assert len(server.fetches) == 2
    verified.clear()
    assert await identity(verifier, by, shown)
    assert verified == [], "the same keys, fetched again"
    server.publish(jwks(public_jwk("ES256", 2)))
    clock.pass_by(270)
    assert isinstance(await ask(verifier, by, shown), Identity)
    clock.pass_by(30)
    gone = await problem(verifier, by, shown)
    assert gone.detail == "provider corp has no key for ES256 and kid 'ES256-1'"


async def test_a_reload_forgets(verifier: TokenVerifier, verified: list[str]) -> None:
    shown = cookie(forge(claims_with()))
    for _ in range(3):
        by = policy(secret())
        await identity(verifier, by, shown)
        await identity(verifier, by, shown)
    assert verified == ["corp"] * 3


async def test_what_one_policy_believes_is_not_believed_by_another(verifier: TokenVerifier) -> None:
    shown = cookie(forge(claims_with()))
    assert isinstance(await ask(verifier, policy(secret()), shown), Identity)
    elsewhere = policy(secret(audiences=("mail",)), name="mail")
    assert (await problem(verifier, elsewhere, shown)).detail == "aud is 'chat', provider corp expects 'mail'"


async def test_new_local_keys_come_with_a_new_verifier(cache: JwksCache, clock: HandClock) -> None:
    by, shown = policy(secret()), cookie(forge(claims_with()))
    assert isinstance(await ask(TokenVerifier(cache, LOCAL, clock), by, shown), Identity)
    rotated = {"/keys/secret": KeySet.from_secret(b"another secret of thirty-two bytes")}
    assert isinstance(await ask(TokenVerifier(cache, rotated, clock), by, shown), TokenProblem)


async def test_what_is_remembered_is_bounded(verifier: TokenVerifier) -> None:
    by = policy(secret())
    pad = "x" * 5000
    for number in range(MAX_REMEMBERED // 6500 + 50):
        assert isinstance(await ask(verifier, by, cookie(forge(claims_with(jti=str(number), pad=pad)))), Identity)
    assert 0 < verifier._verified.currsize <= MAX_REMEMBERED
    assert len(verifier._verified) < MAX_REMEMBERED // 6500 + 50


# Keys that change, and key servers in trouble.


async def test_a_new_key_is_found_by_the_first_token_that_names_it(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock
) -> None:
    by = policy(remote(server))
    await identity(verifier, by, cookie(mint("ES256")))
    server.publish(jwks(public_jwk("ES256"), public_jwk("ES256", 2)))
    clock.pass_by(1)
    new = cookie(mint("ES256", number=2))
    assert verifier.cached(by, [new]) is None
    assert await identity(verifier, by, new)
    assert await identity(verifier, by, cookie(mint("ES256")))
    assert len(server.fetches) == 2


@pytest.mark.parametrize("kid", [None, "nameless"])
async def test_a_new_key_without_a_name_is_found_too(
    kid: str | None, verifier: TokenVerifier, server: KeyServer, clock: HandClock
) -> None:
    by = policy(remote(server))
    server.publish(jwks(public_jwk("ES256", kid=None)))
    assert await identity(verifier, by, cookie(mint("ES256", kid=kid)))
    server.publish(jwks(public_jwk("ES256", 2, kid=None)))
    clock.pass_by(1)
    assert await identity(verifier, by, cookie(mint("ES256", number=2, kid=kid)))


async def test_a_flood_of_made_up_kids_is_one_fetch_a_second(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock, results: Results
) -> None:
    by = policy(remote(server))
    await identity(verifier, by, cookie(mint("ES256")))
    forged = [cookie(mint("ES256", number=3, kid=f"made-up-{number}")) for number in range(30)]
    for second in range(1, 4):
        clock.pass_by(1)
        facts = await asyncio.gather(*(problem(verifier, by, credential) for credential in forged))
        assert {fact.reason for fact in facts} == {CloseReason.CREDENTIAL_INVALID}
        assert len(server.fetches) == 1 + second
    assert set(results) == {("corp", "success")}


async def test_a_forged_token_of_a_known_kid_causes_no_fetch(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock
) -> None:
    by = policy(remote(server))
    await identity(verifier, by, cookie(mint("ES256")))
    clock.pass_by(10)
    forged = await problem(verifier, by, cookie(mint("ES256", number=3, kid="ES256-1")))
    assert forged.reason is CloseReason.CREDENTIAL_INVALID
    assert len(server.fetches) == 1


async def test_a_dead_key_server_is_identity_unavailable_and_no_admission(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock
) -> None:
    await server.stop()
    by = policy(remote(server))
    away = await problem(verifier, by, cookie(mint("ES256")))
    assert away.reason is CloseReason.IDENTITY_UNAVAILABLE
    assert away.detail.startswith("no keys of provider corp: Cannot connect to host")


async def test_while_the_key_server_is_away_its_old_keys_serve(
    verifier: TokenVerifier, server: KeyServer, clock: HandClock
) -> None:
    by = policy(remote(server))
    await identity(verifier, by, cookie(mint("ES256")))
    await server.stop()
    clock.pass_by(400)
    assert await identity(verifier, by, cookie(mint("ES256", claims_with(jti="another"))))
    unknown = await problem(verifier, by, cookie(mint("ES256", number=2)))
    assert unknown.reason is CloseReason.IDENTITY_UNAVAILABLE, "it may be by a new key: nobody could say"


async def test_handshakes_at_the_same_time_share_one_fetch(verifier: TokenVerifier, server: KeyServer) -> None:
    server.gate.clear()
    by = policy(remote(server))
    tokens = [cookie(mint("ES256", claims_with(jti=str(number)))) for number in range(20)]
    waiting = [asyncio.create_task(identity(verifier, by, credential)) for credential in tokens]
    await eventually(lambda: server.fetches)
    server.gate.set()
    assert {who.jti for who in await asyncio.gather(*waiting)} == {str(number) for number in range(20)}
    assert len(server.fetches) == 1


async def test_nothing_that_is_shown_holds_the_token(verifier: TokenVerifier) -> None:
    by = policy(secret())
    token = forge(claims_with(sub="private", iss=ISSUER + "/"))
    facts = await verifier.gather(by, [cookie(token)])
    assert token not in repr(facts)
    assert "private" not in repr(facts)
