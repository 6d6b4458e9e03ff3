"""The verdict on a connection that is already in, when the policies have changed (`session.onReload: Rejudge`).

Law: what is kept of a handshake for this holds no secret. So a signature is not verified again, and a credential that
only the new policy would have looked for is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from wsguard.policy import introspection
from wsguard.policy.case import Case
from wsguard.policy.checks import check_policy
from wsguard.policy.credentials import Credential, CredentialConflict, readers
from wsguard.policy.decision import Decision, Refuse
from wsguard.policy.forward_auth import Approval
from wsguard.policy.judge import AGAIN, PLACE, judge, judge_early
from wsguard.policy.model import IntrospectionProvider, JwtProvider, MissingOrigin, WebSocketPolicy
from wsguard.policy.origin import is_missing_denied
from wsguard.policy.page import OF_THIS_PAGE, page_of
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact, TokenProblem, accept_again
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Stream
from wsguard.sessions.identity import Identity

_PLAIN = RequestHead("GET", "/", (1, 1), Headers())
_AMBIENT = RequestHead("GET", "/", (1, 1), Headers(((b"cookie", b""),)))

_OF_A_SESSION = {
    CloseReason.CREDENTIAL_EXPIRED: CloseReason.SESSION_EXPIRED,
    CloseReason.CREDENTIAL_INVALID: CloseReason.SESSION_INVALID,
    CloseReason.CREDENTIAL_MISSING: CloseReason.SESSION_INVALID,
}
"""What is said at the door of a credential is, of a live connection, said of its session."""


def kept(case: Case) -> Case:
    """What is kept of an admitted `case`: no cookie, no token, no query; who it is, from where and for what."""
    ambient = is_missing_denied(MissingOrigin.DENY_WITH_COOKIE, case.handshake.head, None)
    handshake = replace(
        case.handshake,
        head=_head(case, ambient=ambient),
        key=b"",
        subprotocols=(),
        extensions=None,
    )
    facts = tuple(TokenFact(_without_token(fact.credential), fact.outcome) for fact in case.facts)
    approval = case.approval
    if isinstance(approval, Approval):
        approval = replace(approval, backend_headers=())
    return replace(
        case,
        handshake=handshake,
        handshake_token=None,
        credentials=_credentials(facts, case.credentials),
        facts=facts,
        question=None,
        approval=approval,
    )


def _head(case: Case, *, ambient: bool) -> RequestHead:
    """Of the head, all that is asked again: whether browsers had sent more by themselves, and whose page it was."""
    head = _AMBIENT if ambient else _PLAIN
    if case.stream is Stream.WEB_SOCKET or page_of(case.handshake.head, case.effective) is None:
        return head
    return replace(head, headers=Headers((*head.headers.raw, OF_THIS_PAGE)))


def renewed(case: Case, identities: Iterable[Identity]) -> Case:
    """A `case` that was kept, once newer credentials have come for `identities`, those of the same sources.

    Whom a `forwardAuth` service names is among them: when he was vouched for last is what a log-out asks.
    """
    found = {who.source: who for who in identities}
    facts = tuple(replace(fact, outcome=found.get(fact.credential.source, fact.outcome)) for fact in case.facts)
    approval = case.approval
    if isinstance(approval, Approval) and approval.identity is not None:
        approval = replace(approval, identity=found.get(approval.identity.source, approval.identity))
    return replace(case, facts=facts, approval=approval)


def rejudge(case: Case, policies: PolicySet, now: float) -> tuple[Case, Decision]:
    """The verdict of `policies` on a `case` that was kept, at `now` (seconds since the epoch), and the case it was.

    The deny-list is not asked: a logout has cut its connections, and one that is full keeps out, it does not throw out.
    """
    policy = policies.find(case.effective.authority, case.handshake.path)
    facts = tuple(_facts(policy, case))
    credentials = _credentials(facts, case.credentials)
    again = replace(
        case,
        policy=policy,
        policies=policies,
        now=now,
        credentials=credentials,
        facts=facts,
        approval=_approval(policy, case),
    )
    unspoken = check_policy(again)  # first: it was admitted once, and nothing is to be hidden from it
    decision = unspoken if isinstance(unspoken, Refuse) else judge_early(again, PLACE) or judge(again, AGAIN)
    if isinstance(decision, Refuse):
        decision = replace(decision, reason=_OF_A_SESSION.get(decision.reason, decision.reason))
    return again, decision


def _facts(policy: WebSocketPolicy | None, case: Case) -> Iterator[TokenFact]:
    """The facts about credentials that `policy` looks for."""
    for fact in case.facts:
        providers = readers(policy, fact.credential) if policy is not None else ()
        if not providers:
            continue
        outcome = fact.outcome
        if isinstance(outcome, Identity):
            outcome = _accept_again(outcome, providers, is_opaque=_was_asked_about(outcome, case.policy))
        yield TokenFact(fact.credential, outcome)


def _accept_again(
    identity: Identity, providers: Iterable[JwtProvider | IntrospectionProvider], *, is_opaque: bool
) -> Identity | TokenProblem:
    """By a provider of the same kind: what a server said of a token is no signature, and the other way round."""
    outcome: Identity | TokenProblem = TokenProblem(CloseReason.CREDENTIAL_INVALID, "nobody of its kind reads it now")
    for provider in providers:
        if isinstance(provider, IntrospectionProvider) is not is_opaque:
            continue
        if isinstance(provider, IntrospectionProvider):
            outcome = introspection.accept_again(identity, provider)
        else:
            outcome = accept_again(identity, provider)
        if isinstance(outcome, Identity):
            return outcome
    return outcome


def _was_asked_about(identity: Identity, policy: WebSocketPolicy | None) -> bool:
    asked = policy.spec.introspection if policy is not None else None
    return asked is not None and any(provider.name == identity.provider for provider in asked.providers)


def _approval(policy: WebSocketPolicy | None, case: Case) -> Approval | Refuse | None:
    """The yes of the same service. One that only `policy` asks was not asked, and cannot be without header fields."""
    before = case.policy.spec.forward_auth if case.policy is not None else None
    after = policy.spec.forward_auth if policy is not None else None
    if before is None or after is None or (before.url, before.subject_from) != (after.url, after.subject_from):
        return None
    return case.approval


def _credentials(
    facts: Iterable[TokenFact], found: tuple[Credential, ...] | CredentialConflict
) -> tuple[Credential, ...] | CredentialConflict:
    return found if isinstance(found, CredentialConflict) else tuple(fact.credential for fact in facts)


def _without_token(credential: Credential) -> Credential:
    return replace(credential, token="", offered=None)
