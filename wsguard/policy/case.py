"""A handshake and all that is known of it, as the checks are given it, and what one of them says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wsguard.policy.credentials import Credential, CredentialConflict
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.forward_auth import Approval, Question
from wsguard.policy.handshake_token import TokenContent
from wsguard.policy.logout_detection import session_cookies
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.page import page_of, written
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.handshake import Handshake
from wsguard.sessions.connection import Stream
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity


@dataclass(frozen=True, slots=True)
class Passed:
    """A check that has nothing against the handshake. `detail` is a sentence for `explain`.

    `warning` is what the log of an admission should say all the same; empty: nothing.
    """

    detail: str
    warning: str = ""


@dataclass(slots=True)
class Case:
    """All that the checks may look at, and must not change.

    `policy` is None where none matches; `now` is seconds since the epoch. The others are filled in
    by whoever gathers them: `handshake_token`, opened, before the early checks; the rest once they have
    passed. `question` is what `forwardAuth` is asked, `approval` what it says (None: it was not asked).
    `stream` is what it would become; a request that is no WebSocket handshake stands in `handshake` as if it were one.
    """

    handshake: Handshake
    effective: Effective
    policy: WebSocketPolicy | None
    policies: PolicySet
    now: float
    deny_list: DenyList
    handshake_token: TokenContent | Refuse | None = None
    credentials: tuple[Credential, ...] | CredentialConflict = ()
    facts: Sequence[TokenFact] = ()
    question: Question | None = None
    approval: Approval | Refuse | None = None
    stream: Stream = Stream.WEB_SOCKET

    @property
    def identities(self) -> list[Identity]:
        """Everyone whom a good credential speaks for; last whom `forwardAuth` names."""
        known = [fact.outcome for fact in self.facts if isinstance(fact.outcome, Identity)]
        if isinstance(self.approval, Approval) and self.approval.identity is not None:
            known.append(self.approval.identity)
        return known

    @property
    def page(self) -> str | None:
        """The origin of the page: its Origin, or what a browser says in its place."""
        origin = self.handshake.origin
        if origin is not None:
            return origin.decode("latin-1")
        page = None if self.stream is Stream.WEB_SOCKET else page_of(self.handshake.head, self.effective)
        return None if page is None else written(page)

    @property
    def watched(self) -> tuple[str, ...]:
        """The digests of the session cookies that `logoutDetection` names, whoever vouches for them."""
        names = self.policy.spec.session.watched_cookies if self.policy else ()
        return session_cookies(self.handshake.head.headers, names)

    @property
    def clock_skew(self) -> float:
        """Seconds of tolerance of the policy that matched."""
        return self.policy.spec.session.clock_skew if self.policy else 0.0


Check = Callable[[Case], Passed | Refuse]
"""One question; it looks at nothing but the case."""
