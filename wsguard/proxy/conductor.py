"""Runs one handshake from its head to its verdict and, where that is yes, to the splice.

Every wait is bounded by what is left of `listener.handshakeTimeout`. A fault while judging is a refusal of its own
(`guard-fault`), never an admission. Nothing is awaited between taking the transport over and the registry.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.credentials import Credential, CredentialConflict, erase, read_credentials
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.effective import Effective, IPAddress, parse_ip
from wsguard.policy.forwarding import with_forwarded
from wsguard.policy.handshake_token import read_token, shown
from wsguard.policy.identity_headers import strip
from wsguard.policy.judge import Case, is_only_audited, judge, judge_early
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.model import Framing, WebSocketPolicy
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender, reserved_bits
from wsguard.protocol.upgrade import (
    Answer,
    BadAnswer,
    check_switch,
    chosen_subprotocol,
    subprotocol_of,
    switching_protocols,
    upgrade_request,
)
from wsguard.proxy import gathering
from wsguard.proxy.admission import Admission
from wsguard.proxy.dial import DialError, dial
from wsguard.proxy.environment import Environment
from wsguard.proxy.half import Half
from wsguard.proxy.refusal import Refuser
from wsguard.proxy.splice import Splice
from wsguard.proxy.takeover import HANDED_OVER, take_over
from wsguard.sessions.connection import Connection
from wsguard.sessions.records import Decided, Result

_NEVER_AUDITED = frozenset((CloseReason.DRAINING, CloseReason.GUARD_FAULT))
"""What no policy decided: a policy that only audits lets nothing through that the guard could not judge or serve."""

_NOBODY = Admit()

_LEFT = Refuse(CloseReason.CLIENT_LOST, "the client left during its handshake")


@dataclass(slots=True)
class _Attempt:
    """One handshake under way. `started` is monotonic seconds; `case` grows as facts come in."""

    id: str
    request: web.BaseRequest
    case: Case
    started: float
    tls: bool

    @property
    def handshake(self) -> Handshake:
        return self.case.handshake

    @property
    def policy(self) -> WebSocketPolicy | None:
        return self.case.policy

    @property
    def credentials(self) -> tuple[Credential, ...]:
        found = self.case.credentials
        return () if isinstance(found, CredentialConflict) else found


class Conductor:
    """Takes valid handshakes from the door."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._refuser = Refuser(env)
        self._address = env.backend.address

    async def conduct(
        self, request: web.BaseRequest, handshake: Handshake, effective: Effective, tls: bool
    ) -> web.StreamResponse:
        """Judge `handshake`, and splice or refuse. What is returned is for aiohttp; the client has its answer."""
        env = self._env
        policies = env.policies()
        policy = policies.find(effective.authority, handshake.path)
        case = Case(handshake, effective, policy, policies, env.clock.wall(), env.deny_list)
        attempt = _Attempt(secrets.token_hex(8), request, case, env.clock.monotonic(), tls)
        try:
            return await self._run(attempt)
        except ConnectionResetError:
            self._record(attempt, "refused", _LEFT)
            return HANDED_OVER  # there is nobody to answer
        except asyncio.CancelledError:
            self._record(attempt, "refused", _LEFT)
            raise

    async def _run(self, attempt: _Attempt) -> web.StreamResponse:
        decision = await self._decide(attempt)
        audited: Refuse | None = None
        if isinstance(decision, Refuse):
            if decision.reason in _NEVER_AUDITED or not is_only_audited(attempt.case):
                return self._refuse(attempt, decision)
            audited, decision = decision, Admit()
        else:
            self._env.registry.successions.admit(*attempt.case.watched)  # it is good, whatever the backend says next
        assert attempt.policy is not None  # a handshake that no policy matches is refused, under Audit too
        head = self._outgoing(attempt, decision)
        try:
            transport, answer = await self._dial(attempt, head)
        except DialError as error:
            return self._refuse(attempt, Refuse(error.reason, str(error)))
        offered = _offered(head)
        try:
            if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                check_switch(answer, attempt.handshake.key, offered, attempt.handshake.extensions)
                joined = self._join(attempt, attempt.policy, decision, audited, transport, answer, offered)
                self._notice(attempt, answer)
                return joined
        except BadAnswer as error:
            transport.abort()
            return self._refuse(attempt, Refuse(CloseReason.BACKEND_INVALID, f"the backend's answer: {error}"))
        except ConnectionResetError:
            transport.abort()
            raise
        transport.abort()  # its body is nobody's: a client that asked for a WebSocket reads a close code
        self._notice(attempt, answer)
        refusal = Refuse(CloseReason.BACKEND_REFUSED, f"the backend answered {answer.status}")
        return self._refuse(attempt, refusal, answer.status)

    def _notice(self, attempt: _Attempt, answer: Answer) -> None:
        """An application may end or renew its session in the answer to a handshake, as in any other."""
        if self._env.session_watch is not None:
            case = attempt.case
            self._env.session_watch.notice(Exchange(case.handshake.head, case.effective, answer.status, answer.headers))

    async def _decide(self, attempt: _Attempt) -> Decision:
        """The verdict; whatever goes wrong on the way to it is a refusal."""
        try:
            case = attempt.case
            case.handshake_token = read_token(case.handshake, case.policy, self._env.token_keys())
            refusal = judge_early(case)
            if attempt.policy is not None and (refusal is None or is_only_audited(attempt.case)):
                attempt.case.credentials = read_credentials(attempt.handshake, attempt.policy)
            if refusal is not None:
                return refusal
            if self._env.is_draining():
                return Refuse(CloseReason.DRAINING, "the guard is draining")
            if attempt.policy is not None:
                await self._gather(attempt, attempt.policy)
            return judge(attempt.case)
        except TimeoutError:
            return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the facts about the credential did not come in time")
        except Exception as error:  # a bug must not become an admission (nor end the guard)
            self._env.observer.fault("judging a handshake", error)
            return Refuse(CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")

    async def _gather(self, attempt: _Attempt, policy: WebSocketPolicy) -> None:
        """What others know: all waiting is here, under one deadline."""
        case, verifier, approver = attempt.case, self._env.verifier, self._env.approver
        if not gathering.recall(case, policy, verifier, approver):
            async with asyncio.timeout(self._remaining(attempt)):
                await gathering.ask(case, policy, verifier, approver)
            case.now = self._env.clock.wall()

    def _outgoing(self, attempt: _Attempt, admit: Admit) -> RequestHead:
        """The request as the backend may see it: credentials erased, spoofed fields gone, the guard's own added."""
        head = erase(attempt.handshake.head, (*attempt.credentials, *shown(attempt.handshake)))
        headers = strip(head.headers, attempt.case.policies.identity_header_names)
        headers = with_forwarded(headers, attempt.case.effective, _peer_ip(attempt.request), attempt.tls)
        return RequestHead(head.method, head.target, head.version, Headers((*headers.raw, *admit.identity_headers)))

    async def _dial(self, attempt: _Attempt, head: RequestHead) -> tuple[asyncio.Transport, Answer]:
        backend = self._env.backend
        return await dial(
            self._env.loop, self._address, backend.connect_timeout, upgrade_request(head), self._remaining(attempt)
        )

    def _join(
        self,
        attempt: _Attempt,
        policy: WebSocketPolicy,
        admit: Admit,
        audited: Refuse | None,
        backend_transport: asyncio.Transport,
        answer: Answer,
        offered: tuple[str, ...],
    ) -> web.StreamResponse:
        """Take the client over and let the two halves speak. No await in here."""
        env, spec = self._env, policy.spec
        admission = Admission(env, policy, subprotocol_of(answer.headers))
        splice = Splice(admission, env.loop, env.clock.monotonic, spec.rejection.close_timeout)
        strict = spec.framing is Framing.STRICT
        reserved = reserved_bits(b",".join(answer.headers.all(b"sec-websocket-extensions")))
        client = Half(splice, FrameScanner(Sender.CLIENT, strict=strict, reserved=reserved), is_client=True)
        backend = Half(splice, FrameScanner(Sender.BACKEND, strict=strict, reserved=reserved), is_client=False)
        client.transport, early = take_over(attempt.request, client)
        backend.transport = backend_transport
        backend_transport.set_protocol(backend)
        self._record(attempt, "audited" if audited else "admitted", audited, admit=admit)
        switching = switching_protocols(
            attempt.handshake.key, _with_subprotocol(answer.headers, attempt.handshake, offered)
        )
        splice.open(client, backend, switching)
        watched = () if audited else attempt.case.watched  # whom the policy would refuse vouches for no cookie
        admission.enter(self._connection(attempt, policy, admit, splice, watched), attempt.case)
        splice.begin(answer.tail, early)
        return HANDED_OVER

    def _connection(
        self, attempt: _Attempt, policy: WebSocketPolicy, admit: Admit, link: Splice, watched: tuple[str, ...]
    ) -> Connection:
        origin = attempt.handshake.origin
        expires_at = admit.expires_at
        return Connection(
            id=attempt.id,
            policy=policy.name,
            identity=admit.identity,
            origin=origin.decode("latin-1") if origin is not None else None,
            client_ip=str(attempt.case.effective.client_ip or "unknown"),
            path=attempt.handshake.path,
            backend=self._env.backend.name,
            opened_at=self._env.clock.wall(),
            expires_at=None if expires_at is None else expires_at + policy.spec.session.clock_skew,
            link=link,
            others=admit.others,
            watched=watched,
        )

    def _refuse(self, attempt: _Attempt, refusal: Refuse, status: int | None = None) -> web.StreamResponse:
        response, code = self._refuser.refuse(
            attempt.request, attempt.handshake, attempt.policy, refusal.reason, status
        )
        self._record(attempt, "refused", refusal, code)
        return response

    def _record(
        self,
        attempt: _Attempt,
        result: Result,
        refusal: Refuse | None,
        code: int = 0,
        admit: Admit = _NOBODY,
    ) -> None:
        origin, known = attempt.handshake.origin, attempt.case.identities
        self._env.observer.decided(
            Decided(
                connection_id=attempt.id,
                policy=attempt.policy.name if attempt.policy else None,
                result=result,
                reason=refusal.reason if refusal else None,
                code=code,
                detail=refusal.detail if refusal else admit.warning,
                origin=origin.decode("latin-1") if origin is not None else None,
                client_ip=str(attempt.case.effective.client_ip or "unknown"),
                scheme=attempt.case.effective.scheme,
                host=str(attempt.case.effective.authority),
                path=attempt.handshake.path,
                identity=admit.identity or (known[0] if known else None),
                duration=self._env.clock.monotonic() - attempt.started,
            )
        )

    def _remaining(self, attempt: _Attempt) -> float:
        """Seconds that this handshake may still take."""
        end = attempt.started + attempt.case.policies.guard.listener.handshake_timeout
        return max(end - self._env.clock.monotonic(), 0.001)


def _peer_ip(request: web.BaseRequest) -> IPAddress | None:
    return parse_ip(request.remote) if request.remote else None


def _offered(head: RequestHead) -> tuple[str, ...]:
    """The subprotocols that the backend was offered: the client's, less those that carried a credential."""
    return tuple(item.decode("latin-1") for item in head.headers.items(b"sec-websocket-protocol"))


def _with_subprotocol(headers: Headers, handshake: Handshake, offered: tuple[str, ...]) -> Headers:
    """Where only a credential was offered and it was erased, it is echoed: else a browser fails the handshake."""
    if chosen_subprotocol(headers) or offered or not handshake.subprotocols:
        return headers
    return Headers((*headers.raw, (b"Sec-WebSocket-Protocol", handshake.subprotocols[0].encode("ascii"))))
