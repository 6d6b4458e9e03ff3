"""The verdict on a handshake: which check speaks, in which order, and what an admission carries."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.policy.minting import provider
from wsguard.policy.case import Case, Passed
from wsguard.policy.credentials import Credential, CredentialConflict, Kind
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.hosts import HostPattern
from wsguard.policy.judge import AGAIN, EARLY, LATE, check_deny_list, check_origin, is_only_audited, judge, judge_early
from wsguard.policy.model import (
    Action,
    Authorization,
    Enforcement,
    GuardSpec,
    Jwt,
    Limits,
    Listener,
    Match,
    Metadata,
    MissingOrigin,
    OriginSpec,
    PolicySpec,
    Session,
    WebSocketPolicy,
)
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity, cookie_digest

NOW = 1_800_000_000.0
HOST = "app.example"
SAME, FOREIGN = b"https://app.example", b"https://evil.example"
JWT = Jwt(providers=(provider("HS256", claim_to_headers=({"claim": "sub", "header": "X-User"},)),))
DENY_ALL = Authorization(default_action=Action.DENY, rules=({"name": "none", "action": "Deny"},))


def policy(**spec: Any) -> WebSocketPolicy:
    """A policy for `HOST`."""
    match = Match(hostnames=(HostPattern.parse(HOST),))
    return WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec(**{"match": match, "jwt": JWT, **spec}))


def identity(subject: str = "ann", expires_at: float = NOW + 600.0, **fields: Any) -> Identity:
    claims = {"sub": subject, "exp": expires_at}
    return Identity("corp", "https://idp", subject, "cookie:session", expires_at=expires_at, claims=claims, **fields)


def facts(*outcomes: Identity | TokenProblem) -> Sequence[TokenFact]:
    """What became of as many cookies."""
    return [
        TokenFact(Credential(Kind.COOKIE, f"c{at}", ("corp",), True, "s3cret"), outcome)
        for at, outcome in enumerate(outcomes)
    ]


def case(
    origin: bytes | None = SAME, *, host: str = HOST, speaks: WebSocketPolicy | None = None, **fields: Any
) -> Case:
    """A handshake of a page of `origin`; `speaks` is the policy that matched."""
    sent = ((b"Origin", origin),) if origin is not None else ()
    head = RequestHead("GET", "/ws", (1, 1), Headers((*sent, *fields.pop("headers", ()))))
    effective = Effective(None, None, Authority(host), trusted_peer=False)
    guard = fields.pop("guard", GuardSpec())
    policies = PolicySet((speaks,) if speaks else (), guard)
    made = Case(Handshake(head, "/ws", b"", origin, (), None), effective, speaks, policies, NOW, DenyList())
    return replace(made, **fields)


def verdict(judged: Case) -> Decision:
    """Both steps."""
    return judge_early(judged) or judge(judged)


def reason(judged: Case) -> CloseReason | None:
    """Why not; None: why not."""
    decision = verdict(judged)
    return decision.reason if isinstance(decision, Refuse) else None


def test_a_foreign_page_learns_nothing_but_that_it_is_foreign() -> None:
    """Whatever else is wrong, and also where no policy speaks."""
    logged_out = DenyList()
    logged_out.deny_subject(None, "ann", NOW, NOW)
    for host, speaks, outcome in itertools.product(
        (HOST, "rebound.test"),
        (None, policy(), policy(authorization=DENY_ALL)),
        ((), facts(identity()), facts(TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "x"))),
    ):
        judged = case(FOREIGN, host=host, speaks=speaks, facts=outcome, deny_list=logged_out)
        assert reason(judged) is CloseReason.ORIGIN_DENIED


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


def test_the_order_of_the_checks_is_the_contracts() -> None:
    """Everything is wrong; what is put right uncovers the next."""
    logged_out = DenyList()
    logged_out.deny_subject(None, "ann", NOW, NOW)
    strict = policy(authorization=DENY_ALL)
    two = facts(identity(), identity("bob"))
    steps: list[tuple[Case, CloseReason]] = [
        (case(FOREIGN, host="evil.example.test", deny_list=logged_out), CloseReason.ORIGIN_DENIED),
        (case(None, host="evil.example.test", deny_list=logged_out), CloseReason.HOST_DENIED),
        (case(None, host="localhost", deny_list=logged_out), CloseReason.NO_POLICY),
        (case(speaks=strict, credentials=CredentialConflict("two")), CloseReason.CREDENTIAL_INVALID),
        (
            case(speaks=strict, facts=facts(TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "x"))),
            CloseReason.CREDENTIAL_EXPIRED,
        ),
        (case(speaks=strict, deny_list=logged_out), CloseReason.CREDENTIAL_MISSING),
        (case(speaks=strict, deny_list=logged_out, facts=two), CloseReason.CREDENTIAL_INVALID),
        (case(speaks=strict, deny_list=logged_out, facts=facts(identity())), CloseReason.LOGGED_OUT),
        (case(speaks=strict, facts=facts(identity())), CloseReason.NOT_AUTHORIZED),
    ]
    assert [reason(judged) for judged, _ in steps] == [expected for _, expected in steps]
    assert reason(case(speaks=policy(), facts=facts(identity()))) is None
    names = [name for name, _ in (*EARLY, *LATE)]
    assert names[:4] == ["origin", "host", "policy", "handshake-token"]
    assert names[4:7] == ["subprotocol", "token-binding", "credentials"]


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


def test_an_admission_says_who_and_until_when() -> None:
    """The earliest end of all that was shown."""
    ann = identity(expires_at=NOW + 600.0)
    same = identity(expires_at=NOW + 60.0, sid="another session")
    decision = verdict(case(speaks=policy(), facts=facts(ann, same)))
    assert decision == Admit(ann, ((b"X-User", b"ann"),), NOW + 60.0, others=(same,))


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


def test_a_connection_that_is_in_is_not_asked_for_the_deny_list() -> None:
    assert check_deny_list not in [check for _, check in AGAIN]
    assert [row for row in LATE if row[1] is not check_deny_list] == list(AGAIN)


def test_audit_lets_a_refusal_through_but_never_a_wrong_host_or_an_unreadable_request() -> None:
    """Whichever check spoke first."""
    audit = policy(enforcement=Enforcement.AUDIT)
    for origin in (SAME, FOREIGN, None):
        assert is_only_audited(case(origin, speaks=audit))
        assert not is_only_audited(case(origin, speaks=policy()))
        assert not is_only_audited(case(origin, speaks=None))
        assert not is_only_audited(case(origin, speaks=audit, host="rebound.test"))
        assert not is_only_audited(case(origin, speaks=audit, credentials=CredentialConflict("two")))


def test_every_check_says_something_without_a_secret() -> None:
    """For `explain` and the log, whatever it decides."""
    for judged in (
        case(speaks=policy(), facts=facts(identity())),
        case(FOREIGN, host="rebound.test"),
        case(
            None, speaks=policy(authorization=DENY_ALL), facts=facts(TokenProblem(CloseReason.CREDENTIAL_INVALID, "x"))
        ),
    ):
        for _, check in (*EARLY, *LATE):
            said = check(judged)
            assert isinstance(said, Passed | Refuse)
            assert said.detail
            assert "s3cret" not in said.detail


def test_an_origin_is_told_without_its_query_and_without_controls() -> None:
    """No browser sends either; who made one up may have put a secret there, or an escape sequence."""
    refusal = check_origin(case(b"https://evil.example\x1b[31m/?token=s3cr3t"))
    assert isinstance(refusal, Refuse)
    assert refusal.detail == "https://evil.example\\x1b[31m/ is none of: SameHost"
