"""One handshake's way through the guard, step by step: the judge's own tables, walked aloud.

Nothing here decides: each step is the function that the guard itself calls, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from random import SystemRandom
from typing import Literal, Protocol

from wsguard.policy.caps import client_word, door_claims, holder_claims
from wsguard.policy.case import Case, Check
from wsguard.policy.credentials import CredentialConflict, Kind, read_credentials
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.effective import IPAddress, effective_request
from wsguard.policy.extensions import withheld
from wsguard.policy.first_message import awaited, read_first_message
from wsguard.policy.forward_auth import Approval
from wsguard.policy.handshake_token import TokenContent, TokenKeys, issue, read_token, shown
from wsguard.policy.holding import terms
from wsguard.policy.judge import EARLY, LATE, is_only_audited, judge
from wsguard.policy.logout_detection import session_cookies
from wsguard.policy.model import FirstMessage, Rejection, RejectionMode, Renewal, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.subprotocols import answered_early, plain_offers, unlisted
from wsguard.protocol.closing import http_status
from wsguard.protocol.handshake import Handshake, HttpRefusal, is_attempt, read_handshake, request_problem
from wsguard.protocol.http import RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.stream_request import read_request
from wsguard.protocol.target import is_reserved
from wsguard.proxy import gathering
from wsguard.proxy.wording import word
from wsguard.sessions.connection import Stream
from wsguard.sessions.denylist import DenyList


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


@dataclass(frozen=True, slots=True)
class Moment:
    """A clock that stands still: an explanation is of one moment, `now` in seconds since the epoch."""

    now: float

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """Seconds since some start."""
        return self.now


class Inquiry(gathering.Verifier, gathering.Approver, Protocol):
    """Who turns credentials into facts and questions into approvals."""


@dataclass(slots=True)
class Walk:
    """Walks one request through `policies`. `now` is seconds since the epoch; `tls`: the client speaks TLS.

    `token_keys` are the keys of handshake tokens, by the name of their file. `is_token_given`: the page shows one that
    it was given for all that it shows beside it. `is_answered` once the walk is behind
    the 101 that a first message follows: a refusal is a Close then. `is_stream`: it is no handshake, and has no Close.
    """

    policies: PolicySet
    inquiry: Inquiry
    now: float
    steps: list[Step] = field(default_factory=list)
    token_keys: Mapping[str, TokenKeys] = field(default_factory=dict)
    is_token_given: bool = False
    is_answered: bool = False
    is_stream: bool = False

    async def explain(
        self,
        head: RequestHead,
        peer_ip: IPAddress,
        *,
        tls: bool,
        first_message: bytes | None = None,
        stream: Stream = Stream.WEB_SOCKET,
    ) -> Explanation:
        """The way of `head`, which comes from `peer_ip`; `first_message` is what would be said first.

        `stream` is what it is judged as, where the policy says that it is.
        """
        self.is_stream = stream is not Stream.WEB_SOCKET
        handshake = _read(head, stream)
        if isinstance(handshake, HttpRefusal):
            return self._http(handshake)
        try:
            effective = effective_request(head, peer_ip, tls, self.policies.guard.client_ip_detection)
        except ValueError as error:  # a trusted peer's X-Forwarded-Host: Host itself was read before
            return self._http(HttpRefusal(HTTPStatus.BAD_REQUEST, f"unreadable host or Forwarded: {error}"))
        what = f"a request, judged as {stream.value}" if self.is_stream else "a valid WebSocket handshake"
        self.steps.append(Step("request", True, what))
        policy = self.policies.find(effective.authority, handshake.path)
        case = Case(handshake, effective, policy, self.policies, self.now, DenyList(), stream=stream)
        case.handshake_token = read_token(handshake, policy, self.token_keys)
        if self.is_token_given and policy is not None:
            case.handshake_token = await self._give_token(case, policy)
        refusal = self._refused_by(EARLY, case)
        if policy is not None:
            case = replace(case, credentials=read_credentials(handshake, policy))
        if refusal is None and policy is not None and (message := awaited(case)) is not None:
            if first_message is None:
                return self._awaited(case, policy, message)
            self.is_answered = True
            refusal = self._heard(case, policy, message, first_message)
        if refusal is None and policy is not None:
            await gathering.ask(case, policy, self.inquiry, self.inquiry)
            refusal = self._refused_by(LATE, case)
        return self._explanation(case, refusal)

    async def _give_token(self, case: Case, policy: WebSocketPolicy) -> TokenContent | None:
        spec = policy.spec.origin.handshake_token
        if spec is None:
            return None
        asking = replace(case, credentials=read_credentials(case.handshake, policy))
        await gathering.ask(asking, policy, self.inquiry, self.inquiry)
        return issue(asking, policy, spec.max_age)

    def _awaited(self, case: Case, policy: WebSocketPolicy, message: FirstMessage) -> Explanation:
        self.steps.append(Step("first-message", True, "awaited: no other credential came"))
        awaits = Awaited(message.timeout, answered_early(case.handshake, policy))
        return Explanation("awaited", policy.name, tuple(self.steps), awaited=awaits)

    def _heard(self, case: Case, policy: WebSocketPolicy, message: FirstMessage, said: bytes) -> Refuse | None:
        found = read_first_message(policy, said)
        if len(said) > message.max_size:
            why = f"the first message is longer than {message.max_size} bytes"
            found = Refuse(CloseReason.MESSAGE_TOO_BIG, why)
        if isinstance(found, Refuse):
            self.steps.append(Step("first-message", False, found.detail))
            return found
        self.steps.append(Step("first-message", True, "a token at " + ", ".join(each.name for each in found)))
        case.credentials = found
        return None

    def _refused_by(self, checks: Sequence[tuple[str, Check]], case: Case) -> Refuse | None:
        for name, check in checks:
            result = check(case)
            self.steps.append(Step(name, not isinstance(result, Refuse), result.detail))
            if isinstance(result, Refuse):
                return result
        return None

    def _http(self, refusal: HttpRefusal) -> Explanation:
        self.steps.append(Step("request", False, refusal.why))
        phrase = HTTPStatus(refusal.status).phrase.lower()
        return Explanation("http", None, tuple(self.steps), Refusal(phrase, "", status=refusal.status))

    def _explanation(self, case: Case, refusal: Refuse | None) -> Explanation:
        policy = case.policy.name if case.policy else None
        steps = tuple(self.steps)
        if refusal is not None and not is_only_audited(case):
            return Explanation("refused", policy, steps, refusal=self._refusal(case, refusal.reason))
        if refusal is not None:
            audited = self._refusal(case, refusal.reason)
            admission = replace(_admission(case, Admit()), watched=())  # whom the policy would refuse vouches for none
            return Explanation("audited", policy, steps, audited, admission)
        decision = judge(case)
        assert isinstance(decision, Admit)  # every check of its tables has just passed
        return Explanation("admitted", policy, steps, admission=_admission(case, decision))

    def _refusal(self, case: Case, reason: CloseReason) -> Refusal:
        rejection = case.policy.spec.rejection if case.policy else Rejection()
        mode = rejection.foreign_origin if reason is CloseReason.ORIGIN_DENIED else rejection.mode
        if self.is_stream or (mode is RejectionMode.HTTP_STATUS and not self.is_answered):
            return Refusal(reason.token, reason.advice.value, status=http_status(reason))
        close = word(reason, rejection, self.policies.guard, SystemRandom())
        return Refusal(reason.token, reason.advice.value, code=close.code)


def _read(head: RequestHead, stream: Stream) -> Handshake | HttpRefusal:
    """What the door makes of the request, before any policy."""
    if problem := request_problem(head):
        return problem
    if is_reserved(head.target):
        return HttpRefusal(HTTPStatus.NOT_FOUND, "the guard keeps /.wsguard for itself")
    if stream is not Stream.WEB_SOCKET and not is_attempt(head):
        return read_request(head)
    if not is_attempt(head):
        return HttpRefusal(HTTPStatus.UPGRADE_REQUIRED, "no WebSocket handshake")
    return read_handshake(head)


def _admission(case: Case, admit: Admit) -> Admission:
    found = () if isinstance(case.credentials, CredentialConflict) else case.credentials
    credentials = (*found, *shown(case.handshake))
    unoffered = (f"subprotocol:{name}" for name in unlisted(case.handshake, case.policy)) if case.policy else ()
    answered = case.approval.backend_headers if isinstance(case.approval, Approval) else ()
    return Admission(
        issuer=admit.identity.issuer if admit.identity else None,
        subject=admit.identity.subject if admit.identity else None,
        expires_at=None if admit.expires_at is None else admit.expires_at + case.clock_skew,
        asked_again=case.policy.spec.session.revalidate_every if case.policy else None,
        renewal=_renewal(case),
        watched=_watched(case),
        held=terms(case.policy, plain_offers(case.handshake, case.policy)) if case.policy else None,
        erased=(*(credential.source for credential in credentials if not credential.forward), *unoffered),
        added=tuple(f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in admit.identity_headers),
        answered=len(answered) if admit.identity_headers else 0,
        counted=tuple(_counted(case, admit)),
        extensions=withheld(case.handshake, case.policy),
    )


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
        claims = door_claims(name, limits.connections, client, case.handshake.origin)
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
