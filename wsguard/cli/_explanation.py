"""What `wsguard explain` says of one handshake, as values; and what an admission means, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from wsguard.policy.caps import client_word, door_claims, holder_claims
from wsguard.policy.case import Case
from wsguard.policy.credentials import CredentialConflict, Kind
from wsguard.policy.decision import Admit
from wsguard.policy.extensions import withheld
from wsguard.policy.forward_auth import Approval
from wsguard.policy.handshake_token import shown
from wsguard.policy.holding import terms
from wsguard.policy.logout_detection import session_cookies
from wsguard.policy.model import Renewal
from wsguard.policy.subprotocols import plain_offers, unlisted


@dataclass(frozen=True, slots=True)
class Step:
    """One check and what it said: a sentence without a secret."""

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client gets: `code` and `reason` in a Close frame, or `status` as plain HTTP (the other is None)."""

    reason: str
    advice: str
    code: int | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in and until when (seconds since the epoch), and what the backend sees differently.

    `asked_again` is how often others are asked about the connection while it lives, in seconds. `renewal` is how a
    newer token of its session may prolong it; None: none can. `watched` are the session cookies that came along and
    whose log-out in the application ends the connection. `held` says on what it depends whether it outlives its backend
    (None: it does not). `erased` are the sources of credentials, and subprotocols, that the backend does not get;
    `added` are the identity headers, of which the last `answered` are of the answer of `forwardAuth`. `counted` are the
    limits that it counts against, `extensions` what becomes of those that are offered.
    """

    issuer: str | None = None
    subject: str | None = None
    expires_at: float | None = None
    asked_again: float | None = None
    renewal: str | None = None
    watched: tuple[str, ...] = ()
    held: str | None = None
    erased: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    answered: int = 0
    counted: tuple[str, ...] = ()
    extensions: str = ""

    @classmethod
    def of(cls, case: Case, admit: Admit) -> Admission:
        """What the verdict `admit` on `case` comes to."""
        found = () if isinstance(case.credentials, CredentialConflict) else case.credentials
        credentials = (*found, *shown(case.handshake))
        unoffered = (f"subprotocol:{name}" for name in unlisted(case.handshake, case.policy)) if case.policy else ()
        answered = case.approval.backend_headers if isinstance(case.approval, Approval) else ()
        return cls(
            issuer=admit.identity.issuer if admit.identity else None,
            subject=admit.identity.subject if admit.identity else None,
            expires_at=None if admit.expires_at is None else admit.expires_at + case.clock_skew,
            asked_again=case.policy.spec.session.revalidate_every if case.policy else None,
            renewal=_renewal(case),
            watched=_watched(case),
            held=terms(case.policy, plain_offers(case.handshake, case.policy)) if case.policy else None,
            erased=(*(credential.source for credential in credentials if not credential.forward), *unoffered),
            added=tuple(
                f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in admit.identity_headers
            ),
            answered=len(answered) if admit.identity_headers else 0,
            counted=tuple(_counted(case, admit)),
            extensions=withheld(case.handshake, case.policy),
        )


@dataclass(frozen=True, slots=True)
class Awaited:
    """What the verdict waits for: a message within `timeout` seconds, behind a 101 with `subprotocol`, or none."""

    timeout: float
    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole way. `result` is `http` where the request is no valid handshake and gets a plain answer.

    `audited`: the policy would refuse, and only records that. `awaited`: it depends on the first message.
    """

    result: Literal["admitted", "refused", "audited", "awaited", "http"]
    policy: str | None
    steps: tuple[Step, ...]
    refusal: Refusal | None = None
    admission: Admission | None = None
    awaited: Awaited | None = None

    @property
    def for_terminal(self) -> Explanation:
        """The same, less what a service tells the backend: it may be a token of its own."""
        admission = self.admission
        if admission is None:
            return self
        own = len(admission.added) - admission.answered
        names = (header.partition(":")[0] for header in admission.added[own:])
        added = (*admission.added[:own], *(f"{name}, as forwardAuth says" for name in names))
        return replace(self, admission=replace(admission, added=added))


def _counted(case: Case, admit: Admit) -> Iterator[str]:
    """How many others there are is known to a running guard only."""
    limits = case.policy.spec.limits if case.policy else None
    if case.policy is None or limits is None:
        return
    name, client = case.policy.name, client_word(case.effective.client_ip, case.policies.guard)
    if limits.handshakes is not None and client is not None:
        rate = limits.handshakes.per_client_ip
        yield f"handshakes.perClientIP, {rate.requests} a {rate.unit.value}, {rate.at_once} at once, for {client}"
    if limits.connections is not None:
        who = () if admit.identity is None else (admit.identity, *admit.others)
        claims = door_claims(name, limits.connections, client, case.page)
        for claim in (*claims, *holder_claims(name, limits.connections, who)):
            yield f"connections.{claim.key[1]}, {claim.most}" + (f", for {claim.key[2]}" if claim.key[2] else "")


def _watched(case: Case) -> tuple[str, ...]:
    names = case.policy.spec.session.watched_cookies if case.policy else ()
    return tuple(f"cookie:{name}" for name in names if session_cookies(case.handshake.head.headers, (name,)))


def _renewal(case: Case) -> str | None:
    mode = case.policy.spec.session.renewal if case.policy else Renewal.OFF
    said_first = isinstance(case.credentials, tuple) and any(it.kind is Kind.FIRST_MESSAGE for it in case.credentials)
    if mode is Renewal.OFF or (mode is Renewal.EXPLICIT and said_first):  # a request cannot show such a token
        return None
    return mode.value if any(who.sid is not None for who in case.identities) else None
