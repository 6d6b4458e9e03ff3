"""One handshake's way through the guard, step by step: the judge's own tables, walked aloud.

Nothing here decides: each step is the function that the guard itself calls, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from random import SystemRandom
from typing import Protocol

from wsguard.cli._explanation import Admission, Awaited, Explanation, Refusal, Step
from wsguard.policy.case import Case, Check
from wsguard.policy.credentials import read_credentials
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.effective import IPAddress, effective_request
from wsguard.policy.first_message import awaited, read_first_message
from wsguard.policy.handshake_token import TokenContent, TokenKeys, issue, read_token
from wsguard.policy.judge import EARLY, LATE, is_only_audited, judge
from wsguard.policy.model import FirstMessage, Rejection, RejectionMode, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.subprotocols import answered_early
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
            admission = replace(
                Admission.of(case, Admit()), watched=()
            )  # whom the policy would refuse vouches for none
            return Explanation("audited", policy, steps, audited, admission)
        decision = judge(case)
        assert isinstance(decision, Admit)  # every check of its tables has just passed
        return Explanation("admitted", policy, steps, admission=Admission.of(case, decision))

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
