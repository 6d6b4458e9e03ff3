"""What is asked again about a live connection: of the same service, about the same credential.

A yes that names somebody else is a no. Whom to ask is looked up at each question, because a reload changes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from wsguard.identity.forward_auth import ForwardAuthService
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import MAX_CONCURRENT, IntrospectionService, digest_of
from wsguard.policy.decision import Refuse
from wsguard.policy.evidence import Evidence
from wsguard.policy.forward_auth import PROVIDER, Approval, Question
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

Objection = str | None
"""Why the answer is a no; None: it is a yes."""


class CannotTell(Exception):
    """No answer, or none that says yes or no."""


@dataclass(frozen=True, slots=True)
class Again:
    """One question. `key` is equal for equal ones; `service` names who is asked, by policy and provider.

    `most` is how many such questions the service may be asked at once: half of what it is asked in all, lest they crowd
    out those of handshakes. `ask` raises CannotTell.
    """

    key: tuple[str, ...]
    service: tuple[str, str]
    most: int
    ask: Callable[[], Awaitable[Objection]] = field(repr=False)


def questions(evidence: Evidence, inquiry: Callable[[], Inquiry]) -> Iterator[Again]:
    """All that a connection was admitted for by asking. `inquiry` gives whom to ask now."""
    policy, introspection = evidence.policy.name, evidence.policy.spec.introspection
    asked = {provider.name for provider in introspection.providers} if introspection is not None else ()
    for fact in evidence.facts:
        who = fact.outcome
        if isinstance(who, Identity) and who.provider in asked:
            before = inquiry().introspector.service(policy, who.provider)
            yield Again(
                key=(policy, who.provider, digest_of(fact.credential).hex(), who.issuer, who.subject),
                service=(policy, who.provider),
                most=MAX_CONCURRENT // 2,
                ask=partial(_ask_token, inquiry, policy, fact, who, before),
            )
    question, approval, spec = evidence.question, evidence.approval, evidence.policy.spec.forward_auth
    if question is not None and approval is not None and spec is not None:
        approver = inquiry().authorizer.service(policy)
        yield Again(
            key=(policy, question.digest.hex(), _subject(approval) or ""),
            service=(policy, PROVIDER),
            most=max(spec.max_concurrent // 2, 1),
            ask=partial(_ask_service, inquiry, question, approval, approver),
        )


async def _ask_token(
    inquiry: Callable[[], Inquiry], policy: str, fact: TokenFact, who: Identity, before: IntrospectionService | None
) -> Objection:
    service = inquiry().introspector.service(policy, who.provider) or before
    if service is None:  # a reload took the policy away while its handshake was judged
        raise CannotTell("nobody is left to ask")
    outcome = await service.ask(fact.credential)
    if isinstance(outcome, TokenProblem):
        return _objection(outcome.reason, outcome.detail)
    is_same = (outcome.issuer, outcome.subject, outcome.sid) == (who.issuer, who.subject, who.sid)
    return None if is_same else "the token speaks for somebody else now"


async def _ask_service(
    inquiry: Callable[[], Inquiry], question: Question, approval: Approval, before: ForwardAuthService | None
) -> Objection:
    service = inquiry().authorizer.service(question.policy.name) or before
    if service is None:
        raise CannotTell("nobody is left to ask")
    outcome = await service.ask(question)
    if isinstance(outcome, Refuse):
        return _objection(outcome.reason, outcome.detail)
    is_same = _subject(outcome) == _subject(approval)
    return None if is_same else "the service names somebody else now"


def _objection(reason: CloseReason, detail: str) -> Objection:
    if reason is CloseReason.IDENTITY_UNAVAILABLE:
        raise CannotTell(detail)
    return detail


def _subject(approval: Approval) -> str | None:
    return approval.identity.subject if approval.identity else None
