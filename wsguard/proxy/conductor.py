"""Leads one handshake from its head to its verdict.

Every wait is bounded by what is left of `listener.handshakeTimeout`; the wait for a first message has a bound of its
own, and does not count. A fault while judging is a refusal of its own (`guard-fault`), never an admission.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from wsguard.policy.case import Case
from wsguard.policy.credentials import read_credentials
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.effective import Effective, parse_ip
from wsguard.policy.first_message import awaited, is_forwarded, read_first_message
from wsguard.policy.handshake_token import read_token
from wsguard.policy.judge import is_only_audited, judge, judge_early
from wsguard.policy.model import FirstMessage, WebSocketPolicy
from wsguard.policy.subprotocols import answered_early, plain_offers, promised
from wsguard.protocol.first_message import Closed, Failure, Message
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.upgrade import protocol_field, switching_protocols
from wsguard.proxy import gathering
from wsguard.proxy.attempt import Attempt
from wsguard.proxy.environment import Environment
from wsguard.proxy.takeover import HANDED_OVER
from wsguard.proxy.usher import Usher
from wsguard.proxy.waiting import Waiting
from wsguard.sessions.connection import Stream

_D = TypeVar("_D")

_LEFT = "the client left during its handshake"


class Conductor:
    """Takes valid handshakes from the door."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.usher = Usher(env)

    @property
    def lingering(self) -> int:
        """How many refused clients are awaited."""
        return self.usher.lingering

    async def conduct(
        self, request: web.BaseRequest, handshake: Handshake, effective: Effective, tls: bool
    ) -> web.StreamResponse:
        """Judge `handshake`, and splice or refuse. What is returned is for aiohttp; the client has its answer."""
        attempt = self.attempt(request, handshake, effective, tls)
        is_over = True
        try:
            decision = await self._failing_closed(self._decide(attempt))
            if isinstance(decision, FirstMessage):
                assert attempt.policy is not None  # which asks for it
                answer = self._await_message(attempt, attempt.policy, request, decision)
                is_over = False  # it goes on in a task of its own
                return answer
            return await self.usher.carry_out(attempt, decision)
        except ConnectionResetError:
            self.usher.lost(attempt, _LEFT)
            return HANDED_OVER  # there is nobody to answer
        except asyncio.CancelledError:
            self.usher.lost(attempt, _LEFT)
            raise
        finally:
            if is_over:
                self._env.turnstile.abandon(attempt)

    def attempt(
        self,
        request: web.BaseRequest,
        handshake: Handshake,
        effective: Effective,
        tls: bool,
        stream: Stream = Stream.WEB_SOCKET,
    ) -> Attempt:
        """What is known of `handshake`, which has just come and would become a `stream`."""
        env = self._env
        policies, started = env.policies(), env.clock.monotonic()
        policy = policies.find(effective.authority, handshake.path)
        attempt = Attempt(
            id=secrets.token_hex(8),
            client=request,
            case=Case(handshake, effective, policy, policies, env.clock.wall(), env.deny_list, stream=stream),
            peer=parse_ip(request.remote) if request.remote else None,
            tls=tls,
            started=started,
            ends=started + policies.guard.listener.handshake_timeout,
        )
        if env.tracer is not None:
            head, host = handshake.head, str(effective.authority)
            attempt.trace = env.tracer.begin(head.headers, handshake.path, host, is_trusted=effective.trusted_peer)
        return attempt

    async def verdict(self, attempt: Attempt) -> Decision:
        """The verdict on a request that is no handshake, and has no first message.

        Whoever asks has the turnstile abandon `attempt` once it is registered, or refused.
        """
        decision = await self._failing_closed(self._decide(attempt))
        assert not isinstance(decision, FirstMessage)
        return decision

    async def _decide(self, attempt: Attempt) -> Decision | FirstMessage:
        """The verdict, or the message that it has to wait for."""
        case, policy, turnstile = attempt.case, attempt.policy, self._env.turnstile
        too_often = turnstile.knock(attempt)
        refusal = self._judge_early(case) or too_often
        if policy is not None and (refusal is None or is_only_audited(case)):
            case.credentials = read_credentials(case.handshake, policy)
        if refusal is not None:
            return refusal
        if self._env.is_draining():
            return Refuse(CloseReason.DRAINING, "the guard is draining")
        message = awaited(case)
        if message is not None and self._env.lobby.is_full:
            return Refuse(CloseReason.TOO_MANY_CONNECTIONS, "too many wait for their first message to be judged")
        if (full := turnstile.reserve(attempt, is_awaited=message is not None)) is not None:
            return full
        return message or await self._judge(attempt)

    def _judge_early(self, case: Case) -> Refuse | None:
        case.handshake_token = read_token(case.handshake, case.policy, self._env.token_keys())
        return judge_early(case)

    async def _judge(self, attempt: Attempt) -> Decision:
        """The verdict on all that the client has shown: all waiting is here, under one deadline."""
        case, policy, env = attempt.case, attempt.policy, self._env
        if policy is not None and not gathering.recall(case, policy, env.verifier, env.approver):
            async with asyncio.timeout(attempt.remaining(env.clock.monotonic())):
                await gathering.ask(case, policy, env.verifier, env.approver)
            case.now = env.clock.wall()
        decision = judge(case)
        return env.turnstile.seat(attempt, decision) or decision if isinstance(decision, Admit) else decision

    async def _failing_closed(self, judging: Awaitable[_D]) -> _D | Refuse:
        """What `judging` says; whatever goes wrong on the way to it is a refusal."""
        try:
            return await judging
        except TimeoutError:
            return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the facts about the credential did not come in time")
        except Exception as error:  # a bug must not become an admission (nor end the guard)
            self._env.observer.fault("judging a handshake", error)
            return Refuse(CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")

    # A client that is answered before it is known.

    def _await_message(
        self, attempt: Attempt, policy: WebSocketPolicy, request: web.BaseRequest, message: FirstMessage
    ) -> web.StreamResponse:
        """Answer, and judge in a task of its own: aiohttp's ends with the hand-over. No await in here."""
        handshake, waiting = attempt.handshake, Waiting(self._env.loop, message.max_size)
        answer = switching_protocols(handshake.key, protocol_field(answered_early(handshake, policy)))
        waiting.begin(request, answer, message.timeout)
        attempt.client, attempt.promised = waiting, promised(handshake, policy)
        task = self._env.lobby.enter(waiting, self._listen(attempt, policy, waiting))
        task.add_done_callback(lambda _task: self._env.turnstile.abandon(attempt))  # also where it never began
        return HANDED_OVER

    async def _listen(self, attempt: Attempt, policy: WebSocketPolicy, waiting: Waiting) -> None:
        """Wait for the first message, and do what comes of it."""
        began = self._env.clock.monotonic()
        try:
            outcome = await waiting.outcome
            attempt.ends += self._env.clock.monotonic() - began
            if isinstance(outcome, Closed):
                waiting.close(outcome.reply, policy.spec.rejection.close_timeout)
                self.usher.lost(attempt, "the client closed in place of a first message")
            elif isinstance(outcome, Failure) and outcome.reason is CloseReason.CLIENT_LOST:
                self.usher.lost(attempt, outcome.detail + _why_it_may_have_left(attempt))
            else:
                decision = await self._failing_closed(self._hear(attempt, waiting, outcome))
                await self.usher.carry_out(attempt, decision)
        except ConnectionResetError:
            self.usher.lost(attempt, _LEFT)
        except asyncio.CancelledError:  # by the client's loss, or at the end of the process
            self.usher.lost(attempt, _LEFT)
            waiting.abort()
            raise
        except Exception as error:  # of a task that nobody awaits nobody else would tell
            self._env.observer.fault("a handshake with a first message", error)
            waiting.abort()

    async def _hear(self, attempt: Attempt, waiting: Waiting, outcome: Message | Failure) -> Decision:
        """The verdict on what was said. It is erased only where it admits: Audit passes a bad one on to the backend."""
        if isinstance(outcome, Failure):
            return Refuse(outcome.reason, outcome.detail)
        if self._env.is_draining():
            return Refuse(CloseReason.DRAINING, "the guard is draining")
        if (refusal := self._look_again(attempt.case)) is not None:
            return refusal
        assert attempt.policy is not None  # else the early checks have refused
        found = read_first_message(attempt.policy, outcome.text)
        if isinstance(found, Refuse):
            return found
        attempt.case.credentials = found
        decision = await self._judge(attempt)
        if isinstance(decision, Admit) and not is_forwarded(found):
            waiting.erase()
        return decision

    def _look_again(self, case: Case) -> Refuse | None:
        """Time has passed, and the policies may have changed: those in force now decide, from the first check on."""
        case.now = self._env.clock.wall()
        policies = self._env.policies()
        if policies is case.policies:
            return None
        case.policies, case.policy = policies, policies.find(case.effective.authority, case.handshake.path)
        return self._judge_early(case)


def _why_it_may_have_left(attempt: Attempt) -> str:
    """Browsers, and not only they, leave when they have offered subprotocols and are answered with none."""
    if attempt.promised is not None or not plain_offers(attempt.handshake, attempt.policy):
        return ""
    return "; it offered subprotocols of which limits.subprotocols lists none"
