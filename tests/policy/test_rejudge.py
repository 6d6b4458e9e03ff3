"""What other policies say of a connection that is already in, and what is kept of it to ask them."""

from __future__ import annotations

from ipaddress import IPv4Address
from textwrap import indent
from typing import Any

import pytest

from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential, read_credentials
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.first_message import read_first_message
from wsguard.policy.forward_auth import Approval, Question, question_for
from wsguard.policy.judge import is_only_audited, judge, judge_early
from wsguard.policy.load import load
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.rejudge import kept, rejudge, renewed
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.policy.yaml_source import SourceText
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake, read_handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity

NOW = 1_000_000.0
TOKEN = "secret-token"
CLAIMS = {"iss": "https://idp.test", "aud": "chat", "sub": "ann", "iat": NOW, "exp": NOW + 600, "tier": "gold"}
PROVIDER = (
    "{name: corp, issuer: https://idp.test, audiences: [chat], algorithms: [HS256], localSecretFile: key, "
    "extractFrom: {cookies: [session]}}"
)
JWT = f"jwt: {{providers: [{PROVIDER}]}}"


def policies(*specs: str, match: str = "{hostnames: [app.test]}") -> PolicySet:
    """One policy whose spec is made of these lines."""
    spec = indent("\n".join((f"match: {match}", *specs)), "  ")
    head = "apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {name: chat}\nspec:\n"
    result = load([SourceText("p.yaml", head + spec)])
    assert result.policy_set is not None, result.errors
    return result.policy_set


def handshake(*fields: tuple[str, str], origin: str | None = "https://app.test") -> Handshake:
    usual = [("Host", "app.test"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    usual += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
    usual += [("Origin", origin)] if origin else []
    raw = tuple((name.encode(), value.encode()) for name, value in (*usual, *fields))
    read = read_handshake(RequestHead("GET", f"/ws?access_token={TOKEN}", (1, 1), Headers(raw)))
    assert isinstance(read, Handshake)
    return read


def admitted(by: PolicySet, *fields: tuple[str, str], origin: str | None = "https://app.test", **claims: Any) -> Case:
    """What is kept of a handshake that `by` admitted; its cookie holds a good token."""
    fields = fields or (("Cookie", f"session={TOKEN}"),)
    case = _case(by, handshake(*fields, origin=origin))
    assert case.policy is not None
    credentials = read_credentials(case.handshake, case.policy)
    assert isinstance(credentials, tuple)
    case.credentials = credentials
    case.facts = tuple(TokenFact(credential, _identity(credential, claims)) for credential in credentials)
    assert judge_early(case) is None
    assert isinstance(judge(case), Admit)
    return kept(case)


def _case(by: PolicySet, shaken: Handshake) -> Case:
    effective = Effective(IPv4Address("192.0.2.7"), "https", Authority("app.test", None), False)
    return Case(shaken, effective, by.find(effective.authority, shaken.path), by, NOW, DenyList())


def _identity(credential: Credential, claims: dict[str, Any]) -> Identity:
    claims = {**CLAIMS, **claims}
    return Identity(
        "corp", "https://idp.test", claims["sub"], credential.source, expires_at=claims["exp"], claims=claims
    )


def verdict(case: Case, by: PolicySet, now: float = NOW + 60) -> Decision:
    return rejudge(case, by, now)[1]


def reason(case: Case, by: PolicySet, now: float = NOW + 60) -> CloseReason | None:
    decision = verdict(case, by, now)
    return decision.reason if isinstance(decision, Refuse) else None


def test_what_is_kept_holds_no_secret_and_no_query() -> None:
    case = admitted(policies(JWT), ("Cookie", f"session={TOKEN}; other=private"), ("Authorization", f"Basic {TOKEN}"))
    assert isinstance(case.credentials, tuple)
    told = repr([case.handshake, case.credentials, case.facts, [each.token for each in case.credentials]])
    for secret in (TOKEN, "private", "access_token"):
        assert secret not in told
    assert case.identities[0].subject == "ann"


def test_the_same_policies_say_the_same_again_and_again() -> None:
    case = admitted(policies(JWT))
    for _ in range(2):
        case, decision = rejudge(case, policies(JWT), NOW + 60)
        assert isinstance(decision, Admit)
        assert decision.identity == case.identities[0]
        assert decision.expires_at == NOW + 600


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (('origin: {allowOrigins: ["https://other.test"]}', JWT), CloseReason.ORIGIN_DENIED),
        ((JWT, "authorization: {rules: [{action: Allow, cel: \"claims.tier == 'tin'\"}]}"), CloseReason.NOT_AUTHORIZED),
        ((JWT, "authorization: {rules: [{action: Allow, cel: \"claims.tier == 'gold'\"}]}"), None),
        ((JWT.replace("idp.test", "other.test"),), CloseReason.SESSION_INVALID),
        ((JWT.replace("[chat]", "[mail]"),), CloseReason.SESSION_INVALID),
        ((JWT.replace("[session]", "[login]"),), CloseReason.SESSION_INVALID),
        ((JWT.replace("name: corp", "name: renamed"),), None),
        ((JWT.replace("jwt: {", "jwt: {optional: true, ").replace("[session]", "[login]"),), None),
        ((), None),
    ],
)
def test_other_policies_have_their_say(specs: tuple[str, ...], expected: CloseReason | None) -> None:
    assert reason(admitted(policies(JWT)), policies(*specs)) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{hostnames: [app.test, other.test]}", None),
        ("{hostnames: [app.test], paths: [{type: PathPrefix, value: /ws}]}", None),
        ("{hostnames: [app.test], paths: [{type: PathPrefix, value: /other}]}", CloseReason.NO_POLICY),
        ("{hostnames: [other.test]}", CloseReason.NO_POLICY),
    ],
)
def test_where_no_policy_speaks_any_more(match: str, expected: CloseReason | None) -> None:
    assert reason(admitted(policies(JWT)), policies(JWT, match=match)) is expected


def test_a_token_that_only_the_old_skew_let_live_has_expired() -> None:
    case = admitted(policies(JWT, "session: {clockSkew: 5m}"))
    late = NOW + 600 + 60
    assert reason(case, policies(JWT, "session: {clockSkew: 5m}"), late) is None
    assert reason(case, policies(JWT), late) is CloseReason.SESSION_EXPIRED


def test_an_anonymous_connection_where_a_login_is_demanded_now() -> None:
    case = admitted(policies(), ("X-Nothing", "1"))
    assert reason(case, policies(JWT)) is CloseReason.SESSION_INVALID


def test_who_is_renamed_is_found_by_the_new_name() -> None:
    decision = verdict(admitted(policies(JWT)), policies(JWT.replace("name: corp", "name: renamed")))
    assert isinstance(decision, Admit)
    assert decision.identity is not None
    assert decision.identity.provider == "renamed"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (("Cookie", "a=b"), CloseReason.ORIGIN_DENIED),
        (("Authorization", "Basic YTpi"), CloseReason.ORIGIN_DENIED),
        (("Authorization", "Bearer x"), None),
        (("X-Nothing", "1"), None),
    ],
)
def test_whether_a_browser_may_have_sent_it_is_remembered(field: tuple[str, str], expected: CloseReason | None) -> None:
    case = admitted(policies("origin: {missing: Allow}"), field, origin=None)
    assert reason(case, policies()) is expected


FIRST = "extractFrom: {firstMessage: {jsonPath: token}}"


@pytest.mark.parametrize(
    ("extract", "expected"),
    [
        (FIRST, None),
        (FIRST.replace("token", "payload.token"), CloseReason.SESSION_INVALID),
        ("extractFrom: {cookies: [session]}", CloseReason.SESSION_INVALID),
    ],
)
def test_a_token_that_came_in_the_first_message(extract: str, expected: CloseReason | None) -> None:
    """It holds as long as somebody reads that message, there; which subprotocols are listed is asked at the door."""
    before = policies(JWT.replace("extractFrom: {cookies: [session]}", FIRST))
    case = _case(before, handshake(("Sec-WebSocket-Protocol", "old")))
    assert case.policy is not None
    found = read_first_message(case.policy, b'{"token": "%s"}' % TOKEN.encode())
    assert isinstance(found, tuple)
    case.credentials = found
    case.facts = tuple(TokenFact(credential, _identity(credential, {})) for credential in found)
    assert TOKEN not in repr(kept(case))
    after = policies(JWT.replace("extractFrom: {cookies: [session]}", extract), "limits: {subprotocols: [new]}")
    _, decision = rejudge(kept(case), after, NOW)
    assert (decision.reason if isinstance(decision, Refuse) else None) is expected


def test_a_full_deny_list_throws_nobody_out() -> None:
    case = admitted(policies(JWT))
    case.deny_list = DenyList(max_entries=0)
    case.deny_list.deny_sid(None, "s", NOW)
    assert case.deny_list.overflowed(NOW)
    assert reason(case, policies(JWT)) is None


def test_a_policy_that_audits_only_says_so() -> None:
    by = policies(JWT, 'origin: {allowOrigins: ["https://other.test"]}', "enforcement: Audit")
    again, decision = rejudge(admitted(policies(JWT)), by, NOW)
    assert isinstance(decision, Refuse)
    assert is_only_audited(again)


def test_a_bad_token_that_was_only_audited_is_no_better_now() -> None:
    by = policies(JWT, "enforcement: Audit")
    case = _case(by, handshake(("Cookie", f"session={TOKEN}")))
    assert case.policy is not None
    credentials = read_credentials(case.handshake, case.policy)
    assert isinstance(credentials, tuple)
    case.credentials = credentials
    case.facts = [TokenFact(each, TokenProblem(CloseReason.CREDENTIAL_INVALID, "forged")) for each in credentials]
    assert reason(kept(case), policies(JWT)) is CloseReason.SESSION_INVALID


ASKED = "forwardAuth: {url: 'http://127.0.0.1:3000/me', headersToExtAuth: [cookie], subjectFrom: {jsonPath: id}}"
OPAQUE = (
    "introspection: {providers: [{name: op, endpoint: 'https://idp.test/i', clientID: g, clientSecretFile: s, "
    "extractFrom: {cookies: [session]}}]}"
)


def approved() -> Case:
    """What is kept of a handshake that a service approved."""
    by = policies(ASKED)
    case = _case(by, handshake(("Cookie", f"session={TOKEN}")))
    assert case.policy is not None
    put = question_for(case.policy, case.handshake, case.effective, frozenset())
    assert isinstance(put, Question)
    who = Identity("forwardAuth", "http://127.0.0.1:3000", "ann", "forwardAuth", issued_at=NOW)
    case.question, case.approval = put, Approval(who, ((b"X-User", b"ann"),))
    assert isinstance(judge(case), Admit)
    return kept(case)


def test_of_a_question_nothing_is_kept() -> None:
    case = approved()
    assert case.question is None
    assert TOKEN not in str(case)
    assert "X-User" not in str(case)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ASKED, None),
        (ASKED.replace("[cookie]", "[cookie, x-tenant]"), None),
        ("", None),
        (ASKED.replace("3000", "3001"), CloseReason.IDENTITY_UNAVAILABLE),
        (ASKED.replace("jsonPath: id", "jsonPath: user.id"), CloseReason.IDENTITY_UNAVAILABLE),
        (JWT, CloseReason.SESSION_INVALID),
    ],
)
def test_the_yes_of_a_service_holds_where_the_same_is_asked(spec: str, reason: CloseReason | None) -> None:
    _, decision = rejudge(approved(), policies(spec) if spec else policies(), NOW)
    assert (decision.reason if isinstance(decision, Refuse) else None) is reason


def test_whom_a_service_has_named_again_is_as_new_after_a_reload_as_before() -> None:
    """Else a log-out of what was issued before the renewal would cut who was vouched for after it."""
    case = approved()
    again = Identity("forwardAuth", "http://127.0.0.1:3000", "ann", "forwardAuth", issued_at=NOW + 60)
    _, decision = rejudge(renewed(case, [again]), policies(ASKED), NOW + 90)
    assert isinstance(decision, Admit)
    assert decision.identity == again


def test_a_service_that_only_the_new_policy_asks_was_not_asked() -> None:
    """The client is told to come back, and asked about then."""
    _, decision = rejudge(admitted(policies(JWT)), policies(JWT, ASKED), NOW)
    assert isinstance(decision, Refuse)
    assert decision.reason is CloseReason.IDENTITY_UNAVAILABLE


def test_an_answer_is_no_signature_and_a_signature_no_answer() -> None:
    opaque = admitted(policies(JWT))
    _, decision = rejudge(opaque, policies(OPAQUE), NOW)
    assert isinstance(decision, Refuse)
    assert decision.reason is CloseReason.SESSION_INVALID
    by = policies(OPAQUE)
    case = _case(by, handshake(("Cookie", f"session={TOKEN}")))
    assert case.policy is not None
    found = read_credentials(case.handshake, case.policy)
    assert isinstance(found, tuple)
    who = Identity("op", "https://idp.test", "ann", "cookie:session", expires_at=NOW + 600, claims=CLAIMS)
    case.credentials, case.facts = found, (TokenFact(found[0], who),)
    assert isinstance(judge(case), Admit)
    for spec, reason in (
        (OPAQUE, None),
        (OPAQUE.replace("clientID: g", "clientID: h"), None),
        (OPAQUE.replace("clientID", "issuer: 'https://other.test', clientID"), CloseReason.SESSION_INVALID),
        (OPAQUE.replace("clientID", "audiences: [other], clientID"), CloseReason.SESSION_INVALID),
        (JWT, CloseReason.SESSION_INVALID),
    ):
        _, decision = rejudge(kept(case), policies(spec), NOW)
        assert (decision.reason if isinstance(decision, Refuse) else None) is reason, spec
