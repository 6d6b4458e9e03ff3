"""What each check lets through, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.policy.cases import JWT, NOW, case, facts, identity, policy, reason, verdict
from tests.policy.minting import provider
from wsguard.policy.checks import check_origin
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.model import (
    GuardSpec,
    Jwt,
    Limits,
    Listener,
    Match,
    MissingOrigin,
    OriginSpec,
    Session,
    WebSocketPolicy,
)
from wsguard.policy.tokens import TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import cookie_digest


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ((), None),
        (("chat",), None),
        (("other", "chat"), None),
        (("bearer.abc",), None),
        (("bearer.abc", "chat"), None),
        (("other",), CloseReason.SUBPROTOCOL_DENIED),
        (("Chat",), CloseReason.SUBPROTOCOL_DENIED),
        (("bearer.abc", "other"), CloseReason.SUBPROTOCOL_DENIED),
    ],
)
def test_of_what_is_offered_one_must_be_listed(offered: tuple[str, ...], expected: CloseReason | None) -> None:
    """Where any is listed. A credential is no offer, and nobody has to offer anything."""
    jwt = Jwt(providers=(provider("HS256", extract_from={"subprotocols": ["bearer."]}),))
    speaks = policy(jwt=jwt, limits=Limits(subprotocols=("chat",)))
    judged = case(speaks=speaks, facts=facts(identity()))
    judged.handshake = replace(judged.handshake, subprotocols=offered)
    assert reason(judged) is expected
    judged.policy = policy(jwt=jwt)
    assert reason(judged) is None


@pytest.mark.parametrize(
    ("missing", "headers", "denied"),
    [
        (MissingOrigin.DENY_WITH_COOKIE, (), False),
        (MissingOrigin.DENY_WITH_COOKIE, ((b"Cookie", b""),), True),
        (MissingOrigin.DENY_WITH_COOKIE, ((b"Authorization", b"Basic eA=="),), True),
        (MissingOrigin.DENY_WITH_COOKIE, ((b"Authorization", b"Bearer x"),), False),
        (MissingOrigin.DENY, (), True),
        (MissingOrigin.ALLOW, ((b"Cookie", b"a=b"),), False),
    ],
)
def test_a_handshake_without_an_origin(
    missing: MissingOrigin, headers: tuple[tuple[bytes, bytes], ...], denied: bool
) -> None:
    judged = case(None, speaks=policy(origin=OriginSpec(missing=missing), jwt=None), headers=headers)
    assert (reason(judged) is CloseReason.ORIGIN_DENIED) == denied


@pytest.mark.parametrize(
    ("host", "guard", "speaks", "answered"),
    [
        ("app.example", GuardSpec(), policy(jwt=None), True),
        ("other.example", GuardSpec(), policy(jwt=None), False),
        ("other.example", GuardSpec(listener=Listener(allowed_hosts=("other.example",))), policy(jwt=None), True),
        ("other.example", GuardSpec(listener=Listener(allowed_hosts=("*",))), policy(jwt=None), True),
        ("localhost", GuardSpec(), policy(jwt=None, match=Match()), True),
        ("rebound.test", GuardSpec(), policy(jwt=None, match=Match()), False),
    ],
)
def test_a_name_that_nobody_wrote_down_is_not_answered(
    host: str, guard: GuardSpec, speaks: WebSocketPolicy, answered: bool
) -> None:
    judged = case(None, host=host, guard=guard, speaks=speaks)
    assert (reason(judged) is not CloseReason.HOST_DENIED) == answered


def test_a_credential_is_demanded_shown_and_good() -> None:
    assert reason(case(speaks=policy())) is CloseReason.CREDENTIAL_MISSING
    assert reason(case(speaks=policy(jwt=None))) is None
    optional = policy(jwt=Jwt(optional=True, providers=JWT.providers))
    assert verdict(case(speaks=optional)) == Admit()
    bad = facts(TokenProblem(CloseReason.CREDENTIAL_INVALID, "x"))
    assert reason(case(speaks=optional, facts=bad)) is CloseReason.CREDENTIAL_INVALID
    one_is_bad = facts(identity(), TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "x"))
    assert reason(case(speaks=policy(), facts=one_is_bad)) is CloseReason.CREDENTIAL_EXPIRED


@pytest.mark.parametrize(("left", "good"), [(1.0, True), (-29.0, True), (-31.0, False)])
def test_a_token_that_expires_while_it_is_judged(left: float, good: bool) -> None:
    """At the door as at the cut: exp and the clock skew."""
    judged = case(speaks=policy(session=Session(clock_skew=30.0)), facts=facts(identity(expires_at=NOW + left)))
    assert (reason(judged) is None) == good


def test_credentials_speak_for_one_subject_of_one_issuer() -> None:
    ann = identity()
    for other in (identity("bob"), replace(ann, issuer="https://other")):
        assert reason(case(speaks=policy(), facts=facts(ann, other))) is CloseReason.CREDENTIAL_INVALID


def test_a_logout_of_any_credential_counts() -> None:
    deny_list = DenyList()
    deny_list.deny_sid("https://idp", "s2", NOW)
    shown = facts(identity(sid="s1"), identity(sid="s2"))
    assert reason(case(speaks=policy(), facts=shown, deny_list=deny_list)) is CloseReason.LOGGED_OUT
    assert reason(case(speaks=policy(), facts=shown[:1], deny_list=deny_list)) is None


WATCHING = Session.model_validate({"logoutDetection": {"cookies": ["session"]}})
JAR = ((b"Cookie", b"session=v"),)


def test_a_session_cookie_that_was_logged_out_stays_out_whoever_vouches_for_it() -> None:
    deny_list, watching = DenyList(), policy(jwt=None, session=WATCHING)
    deny_list.deny_cookie(None, cookie_digest("v"), NOW)
    assert reason(case(speaks=watching, headers=JAR, deny_list=deny_list)) is CloseReason.LOGGED_OUT
    assert reason(case(speaks=policy(jwt=None), headers=JAR, deny_list=deny_list)) is None
    other = case(speaks=watching, headers=((b"Cookie", b"session=w"),), deny_list=deny_list)
    assert reason(other) is None
    deny_list.is_behind = True
    assert reason(other) is CloseReason.IDENTITY_UNAVAILABLE
    assert reason(case(speaks=watching, deny_list=deny_list)) is None


def test_after_a_gap_a_cookie_of_nobody_is_as_old_as_its_handshake() -> None:
    deny_list, watching = DenyList(), policy(jwt=None, session=WATCHING)
    deny_list.deny_everyone(NOW, NOW - 1)
    assert reason(case(speaks=watching, headers=JAR, deny_list=deny_list)) is None
    deny_list.deny_everyone(NOW + 1, NOW)
    assert reason(case(speaks=watching, headers=JAR, deny_list=deny_list)) is CloseReason.LOGGED_OUT
    assert reason(case(speaks=watching, deny_list=deny_list)) is None, "who has no session has none to end"


def test_a_full_deny_list_admits_no_session_cookie_either() -> None:
    full, watching = DenyList(max_entries=0), policy(jwt=None, session=WATCHING)
    full.deny_sid(None, "one", NOW)
    assert reason(case(speaks=watching, headers=JAR, deny_list=full)) is CloseReason.IDENTITY_UNAVAILABLE
    assert reason(case(speaks=watching, deny_list=full)) is None


def test_a_full_deny_list_admits_no_token_and_every_stranger() -> None:
    """It cannot know whether this one was logged out."""
    full = DenyList(max_entries=1)
    full.deny_sid(None, "one", NOW)
    full.deny_sid(None, "two", NOW)
    optional = policy(jwt=Jwt(optional=True, providers=JWT.providers))
    assert reason(case(speaks=optional, facts=facts(identity()), deny_list=full)) is CloseReason.IDENTITY_UNAVAILABLE
    assert reason(case(speaks=optional, deny_list=full)) is None


def test_a_deny_list_that_is_behind_admits_no_token_and_every_stranger() -> None:
    """What ended meanwhile is not in it yet."""
    behind, optional = DenyList(), policy(jwt=Jwt(optional=True, providers=JWT.providers))
    behind.is_behind = True
    assert reason(case(speaks=optional, facts=facts(identity()), deny_list=behind)) is CloseReason.IDENTITY_UNAVAILABLE
    assert reason(case(speaks=optional, deny_list=behind)) is None


def test_an_origin_is_told_without_its_query_and_without_controls() -> None:
    """No browser sends either; who made one up may have put a secret there, or an escape sequence."""
    refusal = check_origin(case(b"https://evil.example\x1b[31m/?token=s3cr3t"))
    assert isinstance(refusal, Refuse)
    assert refusal.detail == "https://evil.example\\x1b[31m/ is none of: SameHost"
