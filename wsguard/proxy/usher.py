"""Carries a verdict out: refuses, or dials the backend and, where that agrees, joins it with the client.

Nothing is awaited between taking the client's transport over and the registry.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.extensions import spared
from wsguard.policy.judge import is_only_audited
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.model import Backend, WebSocketPolicy
from wsguard.protocol.frame_rules import reserved_bits
from wsguard.protocol.http import RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.upgrade import Answer, BadAnswer, subprotocol_of, switching_protocols, upgrade_request
from wsguard.proxy.admission import Admission
from wsguard.proxy.attempt import Attempt
from wsguard.proxy.dial import DialError, dial
from wsguard.proxy.environment import Environment
from wsguard.proxy.halves import make_halves
from wsguard.proxy.holding import let_hold
from wsguard.proxy.outgoing import BrokenPromise, check_answer, for_client, outgoing
from wsguard.proxy.refusal import Refuser
from wsguard.proxy.splice import Splice
from wsguard.proxy.takeover import HANDED_OVER
from wsguard.proxy.watched import Clockwork
from wsguard.sessions.connection import Link
from wsguard.sessions.records import Result

_NEVER_AUDITED = frozenset((CloseReason.DRAINING, CloseReason.GUARD_FAULT))
"""What no policy decided: a policy that only audits lets nothing through that the guard could not judge or serve."""


class Usher:
    """Refuses and joins, and has every decision recorded."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._refuser = Refuser(env)

    @property
    def lingering(self) -> int:
        """How many refused clients are awaited."""
        return self._refuser.lingering

    async def carry_out(self, attempt: Attempt, decision: Decision) -> web.StreamResponse:
        """Do what `decision` says. What is returned is for aiohttp; the client has its answer.

        Raises ConnectionResetError where the client left.
        """
        settled = self.settle(attempt, decision)
        if isinstance(settled, Refuse):
            return self._refuse(attempt, settled)
        decision, audited = settled
        with self._env.backends.handshake() as backend:
            return await self._go_to(backend, attempt, decision, audited)

    async def _go_to(
        self, backend: Backend, attempt: Attempt, admit: Admit, audited: Refuse | None
    ) -> web.StreamResponse:
        """Join the client with `backend`, or refuse it for what comes of that."""
        assert attempt.policy is not None  # a handshake that no policy matches is refused, under Audit too
        if what := spared(attempt.handshake, attempt.policy):
            admit = replace(admit, warning=f"{admit.warning}; {what}".removeprefix("; "))
        head, backends = outgoing(attempt, admit), self._env.backends
        try:
            transport, answer = await self._dial(backend, attempt, head)
        except DialError as error:
            backends.answered(backend, error.reason, detail=str(error))
            return self._refuse(attempt, Refuse(error.reason, str(error)))
        try:
            if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                check_answer(attempt, head, answer)
                joined = self._join(backend, attempt, attempt.policy, admit, audited, transport, answer, head)
                backends.answered(backend, None)
                self._notice(attempt, answer)
                return joined
        except BadAnswer as error:
            refusal = Refuse(CloseReason.BACKEND_INVALID, f"the backend's answer: {error}")
        except BrokenPromise as error:
            refusal = Refuse(CloseReason.SUBPROTOCOL_DENIED, str(error))
        except ConnectionResetError:
            transport.abort()
            raise
        else:
            refusal = Refuse(CloseReason.BACKEND_REFUSED, f"the backend answered {answer.status}")
        backends.answered(backend, refusal.reason, answer.status, refusal.detail)
        transport.abort()  # its body is nobody's: a client that asked for a WebSocket reads a close code
        if refusal.reason is not CloseReason.BACKEND_REFUSED:
            return self._refuse(attempt, refusal)
        self._notice(attempt, answer)
        return self._refuse(attempt, refusal, answer.status)

    def settle(self, attempt: Attempt, decision: Decision) -> Refuse | tuple[Admit, Refuse | None]:
        """What `decision` comes to: a refusal, or an admission, with the refusal that the policy only records."""
        if isinstance(decision, Admit):
            attempt.is_good = True
            self._env.registry.successions.admit(*attempt.case.watched)  # it is good, whatever the backend says next
            return decision, attempt.spared
        if decision.reason in _NEVER_AUDITED or not is_only_audited(attempt.case):
            return decision
        return Admit(), attempt.spared or decision

    def _notice(self, attempt: Attempt, answer: Answer) -> None:
        """An application may end or renew its session in the answer to a handshake, as in any other."""
        if self._env.session_watch is not None:
            case = attempt.case
            self._env.session_watch.notice(Exchange(case.handshake.head, case.effective, answer.status, answer.headers))

    def register(
        self,
        attempt: Attempt,
        admission: Admission,
        admit: Admit,
        audited: Refuse | None,
        backend: str,
        link: Link,
    ) -> None:
        """What was admitted lives from now on; it may be cut by the look behind the registration."""
        if audited:
            self._env.registry.census.excuse(attempt.id)
        watched = attempt.case.watched if attempt.is_good else ()  # whom the policy would refuse vouches for no cookie
        opened = self._env.clock.wall()
        admission.enter(attempt.connection(admission.policy, admit, backend, opened, link, watched), attempt.case)

    def lost(self, attempt: Attempt, detail: str) -> None:
        """The client left, and nobody is there to answer."""
        self.record(attempt, "refused", Refuse(CloseReason.CLIENT_LOST, detail))

    def record(
        self, attempt: Attempt, result: Result, refusal: Refuse | None, code: int = 0, admit: Admit | None = None
    ) -> None:
        """Tell the observer of a decision; `code` is the close code that was sent, or 0."""
        decided = attempt.decided(result, refusal, code, admit, self._env.clock.monotonic())
        self._env.observer.decided(decided)
        if attempt.trace is not None:
            attempt.trace.end(decided)

    async def _dial(self, backend: Backend, attempt: Attempt, head: RequestHead) -> tuple[asyncio.Transport, Answer]:
        env = self._env
        request, timeout = upgrade_request(head), attempt.remaining(env.clock.monotonic())
        return await dial(env.loop, backend, env.backends.tls(backend), request, timeout)

    def _join(
        self,
        chosen: Backend,
        attempt: Attempt,
        policy: WebSocketPolicy,
        admit: Admit,
        audited: Refuse | None,
        backend_transport: asyncio.Transport,
        answer: Answer,
        head: RequestHead,
    ) -> web.StreamResponse:
        """Take the client over and let the two halves speak. No await in here."""
        env, spec = self._env, policy.spec
        admission = Admission(env, policy, subprotocol_of(answer.headers))
        splice = Splice(admission, env.loop, env.clock.monotonic, spec.rejection.close_timeout)
        reserved = reserved_bits(b",".join(answer.headers.all(b"sec-websocket-extensions")))
        client, backend = make_halves(splice, spec, reserved, Clockwork(env.loop, env.clock.monotonic))
        client.transport, early = attempt.hand_over(client)
        backend.transport = backend_transport
        backend_transport.set_protocol(backend)
        self.record(attempt, "audited" if audited else "admitted", audited, admit=admit)
        switching = b""  # where the client has its own 101 already
        if not attempt.is_answered:
            switching = switching_protocols(attempt.handshake.key, for_client(answer.headers, attempt, head))
        splice.open(client, backend, switching)
        self.register(attempt, admission, admit, audited, chosen.name, splice)
        let_hold(splice, env, admission, attempt.case, head, answer)
        splice.begin(answer.tail, early)
        return HANDED_OVER

    def _refuse(self, attempt: Attempt, refusal: Refuse, status: int | None = None) -> web.StreamResponse:
        response, code = self._refuser.refuse(attempt, refusal.reason, status, refusal.wait)
        self.record(attempt, "refused", refusal, code)
        return response
