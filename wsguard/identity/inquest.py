"""What is asked again about a live connection, and what an answer means for it.

What is needed to ask (a token, header fields) is in an `Inquest`, and goes with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from wsguard.identity.forward_auth import ForwardAuthService
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import IntrospectionService, digest_of
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
class Inquest:
    """What is asked: `put` asks it, equal keys are the same. `question` is that to a `forwardAuth` service.

    `key` begins with the policy and the provider, by which a service is named.
    """

    key: tuple[str, ...]
    put: Callable[[], Awaitable[Objection]] = field(repr=False)
    question: Question | None = field(default=None, repr=False)

    @property
    def service(self) -> tuple[str, ...]:
        """Who is asked."""
        return self.key[:2]


class Inquests:
    """Makes them. `inquiry` gives whom to ask now; it changes with a reload."""

    def __init__(self, inquiry: Callable[[], Inquiry]) -> None:
        self._inquiry = inquiry

    def about(self, evidence: Evidence) -> Iterator[tuple[str, Inquest]]:
        """Where each credential was found, and what to ask about it."""
        policy, inquiry, introspection = evidence.policy.name, self._inquiry(), evidence.policy.spec.introspection
        asked = {provider.name for provider in introspection.providers} if introspection is not None else ()
        for fact in evidence.facts:
            who = fact.outcome
            if isinstance(who, Identity) and who.provider in asked:
                service = inquiry.introspector.service(policy, who.provider)
                key = (policy, who.provider, digest_of(fact.credential).hex(), who.issuer, who.subject)
                yield fact.credential.source, Inquest(key, partial(self._ask_token, policy, fact, who, service))
        question, approval = evidence.question, evidence.approval
        if question is not None and approval is not None:
            approver = inquiry.authorizer.service(policy)
            whom = (policy, PROVIDER, question.digest.hex(), _subject(approval) or "")
            yield PROVIDER, Inquest(whom, partial(self._ask_service, question, approval, approver), question)

    async def _ask_token(
        self, policy: str, fact: TokenFact, who: Identity, before: IntrospectionService | None
    ) -> Objection:
        service = self._inquiry().introspector.service(policy, who.provider) or before
        if service is None:  # a reload took the policy away while its handshake was judged
            raise CannotTell("nobody is left to ask")
        outcome = await service.ask(fact.credential)
        if isinstance(outcome, TokenProblem):
            if outcome.reason is CloseReason.IDENTITY_UNAVAILABLE:
                raise CannotTell(outcome.detail)
            return outcome.detail
        is_same = (outcome.issuer, outcome.subject, outcome.sid) == (who.issuer, who.subject, who.sid)
        return None if is_same else "the token speaks for somebody else now"

    async def _ask_service(
        self, question: Question, approval: Approval, before: ForwardAuthService | None
    ) -> Objection:
        service = self._inquiry().authorizer.service(question.policy.name) or before
        if service is None:
            raise CannotTell("nobody is left to ask")
        outcome = await service.ask(question)
        if isinstance(outcome, Refuse):
            if outcome.reason is CloseReason.IDENTITY_UNAVAILABLE:
                raise CannotTell(outcome.detail)
            return outcome.detail
        is_same = _subject(outcome) == _subject(approval)
        return None if is_same else "the service names somebody else now"


def _subject(approval: Approval) -> str | None:
    return approval.identity.subject if approval.identity else None
