"""Fills a case with what others know of it: facts about credentials first, then the word of `forwardAuth`.

A handshake with a bad credential is refused whatever the service would say, so the service is not asked about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wsguard.policy.case import Case, Passed
from wsguard.policy.checks import check_credentials
from wsguard.policy.credentials import Credential, CredentialConflict
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import Approval, Question, question_for
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.tokens import TokenFact


class Verifier(Protocol):
    """Who turns credentials into facts (wsguard.identity)."""

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...] | None:
        """The same without waiting; None where that cannot be."""
        ...

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        """One fact a credential. May wait for keys from outside, or for who is asked about a token."""
        ...


class Approver(Protocol):
    """Who asks the service of a policy's `forwardAuth` (wsguard.identity)."""

    def recall(self, question: Question) -> Approval | None:
        """A yes that is still remembered; else None."""
        ...

    async def ask(self, question: Question) -> Approval | Refuse:
        """Yes or no, asked now; no, where no answer comes. May wait."""
        ...


def recall(case: Case, policy: WebSocketPolicy, verifier: Verifier, approver: Approver | None) -> bool:
    """Fill in what is at hand, without waiting; True where that is all."""
    credentials = _credentials(case)
    if credentials:
        known = verifier.cached(policy, credentials)
        if known is None:
            return False
        case.facts = known
    if not _is_asked(case, policy):
        return True
    _put_question(case, policy)
    if case.question is not None and approver is not None:
        case.approval = _recalled(case, case.question, approver)
        return case.approval is not None
    return True


async def ask(case: Case, policy: WebSocketPolicy, verifier: Verifier, approver: Approver | None) -> None:
    """Fill in everything, by asking where it has to be."""
    credentials = _credentials(case)
    if credentials:
        case.facts = await verifier.gather(policy, credentials)
    if _is_asked(case, policy):
        _put_question(case, policy)
        if case.question is not None and approver is not None:
            case.approval = _recalled(case, case.question, approver) or await approver.ask(case.question)


def _credentials(case: Case) -> tuple[Credential, ...]:
    return () if isinstance(case.credentials, CredentialConflict) else case.credentials


def _is_asked(case: Case, policy: WebSocketPolicy) -> bool:
    return policy.spec.forward_auth is not None and isinstance(check_credentials(case), Passed)


def _put_question(case: Case, policy: WebSocketPolicy) -> None:
    """Into `question`; or into `approval` the refusal of a handshake that no question can be made of."""
    question = question_for(policy, case.handshake, case.effective, case.policies.identity_header_names)
    if isinstance(question, Refuse):
        case.approval = question
    else:
        case.question = question


def _recalled(case: Case, question: Question, approver: Approver) -> Approval | None:
    """The yes that is remembered, unless whom it names was logged out since: the service may know better by now."""
    approval = approver.recall(question)
    who = approval.identity if approval is not None else None
    return None if who is not None and case.deny_list.denies(who, case.now) else approval
