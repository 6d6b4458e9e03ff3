"""What a connection was admitted for, kept for whoever asks about it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wsguard.policy.case import Case
from wsguard.policy.forward_auth import Approval, Question
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.tokens import TokenFact
from wsguard.sessions.identity import Identity


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts about a handshake's credentials, the question to the service that had a say, and its yes.

    Tokens and header fields are in here: it is to be handed on, and kept by nobody but the re-validation.
    """

    policy: WebSocketPolicy
    facts: Sequence[TokenFact] = field(repr=False)
    question: Question | None = None
    approval: Approval | None = None

    @classmethod
    def of(cls, case: Case, policy: WebSocketPolicy) -> Evidence:
        """What `case` holds."""
        approval = case.approval if isinstance(case.approval, Approval) else None
        return cls(policy, case.facts, case.question, approval)

    @classmethod
    def renewing(cls, case: Case, policy: WebSocketPolicy, identities: Sequence[Identity]) -> Evidence:
        """What of `case` a connection under `policy` lives by, now that it is one of `identities`."""
        evidence = cls.of(case, policy)
        return replace(evidence, facts=tuple(fact for fact in case.facts if fact.outcome in identities))
