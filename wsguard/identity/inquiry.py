"""Everyone who can be asked about a handshake under one set of policies, behind one door.

A token goes to the JWT providers where it is one of theirs, else to the introspection providers that read its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.introspection import Introspector
from wsguard.identity.verifier import TokenVerifier, is_of_jwt
from wsguard.policy.credentials import Credential
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import Approval, Question
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.reasons import CloseReason


class Inquiry:
    """Turns credentials into facts, and questions into approvals."""

    def __init__(self, tokens: TokenVerifier, introspector: Introspector, authorizer: ForwardAuthorizer) -> None:
        self.tokens = tokens
        self.introspector = introspector
        self.authorizer = authorizer

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...] | None:
        """The facts of `gather` where nobody has to be asked; else None."""
        if policy.spec.introspection is None:
            return self.tokens.cached(policy, credentials)
        facts: list[TokenFact] = []
        for credential in credentials:
            if is_of_jwt(policy, credential):
                known = self.tokens.cached(policy, (credential,))
                if known is None:
                    return None
                facts += known
            elif identity := self.introspector.recall(policy, credential):
                facts.append(TokenFact(credential, identity))
            else:
                return None
        return tuple(facts)

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        """One fact a credential, in their order."""
        if policy.spec.introspection is None:
            return await self.tokens.gather(policy, credentials)
        return tuple(await asyncio.gather(*(self._fact(policy, credential) for credential in credentials)))

    async def _fact(self, policy: WebSocketPolicy, credential: Credential) -> TokenFact:
        if is_of_jwt(policy, credential):
            (fact,) = await self.tokens.gather(policy, (credential,))
            return fact
        return TokenFact(credential, await self.introspector.ask(policy, credential))

    def recall(self, question: Question) -> Approval | None:
        """The yes that the service gave to `question` a short time ago; else None."""
        service = self.authorizer.service(question.policy.name)
        return None if service is None else service.recall(question)

    async def ask(self, question: Question) -> Approval | Refuse:
        """What the service says to `question`; what is remembered does not count."""
        service = self.authorizer.service(question.policy.name)
        if service is None:  # a reload took the policy away while its handshake was judged
            return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the policy is gone, and nobody is left to ask")
        return await service.ask(question)
