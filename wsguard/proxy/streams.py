"""Server-Sent Events and long polls under a policy (`streams`): judged as a handshake is, and alive as a WebSocket is.

What asks for events, and all HTTP where the policy says LongPolling, is judged before the backend sees it. An answer
that turns out to be an event stream is judged before its head goes on; what the backend has done by then is done.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.credentials import CredentialConflict, read_credentials
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.judge import PLACE, judge_early
from wsguard.policy.model import Backend
from wsguard.policy.streams import Reach, reach
from wsguard.protocol.handshake import HttpRefusal
from wsguard.protocol.hop_by_hop import end_to_end
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.stream_request import has_body, is_event_stream, is_preflight, read_request
from wsguard.proxy.admission import Admission
from wsguard.proxy.answers import Answers, end_answer, permission
from wsguard.proxy.attempt import Attempt
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.outgoing import outgoing
from wsguard.proxy.passage import Passage
from wsguard.sessions.connection import Stream
from wsguard.sessions.records import Delivery

_LEFT = "the client left before it had its answer"
_CREDENTIALS = frozenset((b"authorization", b"cookie"))


class Streams:
    """Takes plain HTTP from the door where a policy judges any."""

    def __init__(self, env: Environment, conductor: Conductor, forwarder: Forwarder) -> None:
        self._env = env
        self._conductor = conductor
        self._forwarder = forwarder

    def errand(self, request: web.BaseRequest, head: RequestHead, effective: Effective, tls: bool) -> Errand | None:
        """What is to be done about a request; None where no policy judges it, whatever its answer."""
        found = reach(self._env.policies(), effective.authority, head.target)
        if not found.streams:
            return None
        return Errand(self._env, self._conductor, self._forwarder, request, head, effective, tls, found)


class Errand:
    """One request. Implements `proxy.forward.Escort`."""

    def __init__(
        self,
        env: Environment,
        conductor: Conductor,
        forwarder: Forwarder,
        request: web.BaseRequest,
        head: RequestHead,
        effective: Effective,
        tls: bool,
        found: Reach,
    ) -> None:
        self._env = env
        self._conductor = conductor
        self._forwarder = forwarder
        self._request = request
        self._head = head
        self._effective = effective
        self._tls = tls
        self._answers = Answers(env, head, effective)
        self._reach = found
        self._attempt: Attempt | None = None
        self._backend: Backend | None = None  # where it went
        self._passage: Passage | None = None
        self._scope: asyncio.Timeout | None = None
        self._response: web.StreamResponse | None = None
        self.stream = found.asked_as(head)
        self._is_preflight = self.stream is not None and is_preflight(head)

    async def run(self) -> web.StreamResponse:
        """Judge, forward, and see to the end of it."""
        if self.stream is None:
            return await self._forward(None)
        if self._is_preflight:
            return await self._preflight(self.stream)
        verdict = await self._judge(self.stream)
        return verdict if isinstance(verdict, web.Response) else await self._forward(verdict)

    async def _preflight(self, stream: Stream) -> web.StreamResponse:
        """A question that browsers send without credentials: the application's to answer, to a page that may ask."""
        attempt = self._begin(stream)
        if isinstance(attempt, HttpRefusal):
            return self._answers.turned_away(attempt)
        refusal = judge_early(attempt.case, PLACE)
        settled = Admit() if refusal is None else self._conductor.usher.settle(attempt, refusal)
        if isinstance(settled, Refuse):
            return self._refuse(attempt, settled)
        case = attempt.case
        if attempt.policy is not None:
            found = read_credentials(case.handshake, attempt.policy)
            if isinstance(found, CredentialConflict):
                return self._answers.turned_away(HttpRefusal(HTTPStatus.BAD_REQUEST, found.detail))
            case.credentials = tuple(replace(credential, forward=False) for credential in found)
        headers = case.handshake.head.headers.without(_CREDENTIALS)
        case.handshake = replace(case.handshake, head=replace(case.handshake.head, headers=headers))
        return await self._forward(Admit())

    async def _forward(self, verdict: Admit | None) -> web.StreamResponse:
        """None: as it came, for nobody has judged it yet."""
        response: web.StreamResponse | None = None
        if self._passage is not None and self._passage.close is not None:  # by the look behind the registration
            return await self._conclude(None)
        try:
            async with asyncio.timeout(None) as self._scope:
                if self._passage is not None:
                    self._passage.begin(self._scope)
                sent = outgoing(self._attempt, verdict) if self._attempt is not None and verdict is not None else None
                response = await self._forwarder.forward(
                    self._request, self._head, self._effective, self._tls, self, sent
                )
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
        except BaseException as error:  # nobody is there to answer, or aiohttp does; nothing must stay behind
            if self._passage is not None:
                if isinstance(error, asyncio.CancelledError):
                    self._passage.failed(CloseReason.CLIENT_LOST, _LEFT)
                else:
                    self._passage.cut(CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")
                self._passage.end()
            raise
        return await self._conclude(response)

    # The verdict.

    async def _judge(self, stream: Stream) -> Admit | web.Response:
        """The verdict, registered where it admits; else the answer that tells of the refusal."""
        attempt, usher = self._begin(stream), self._conductor.usher
        if isinstance(attempt, HttpRefusal):
            return self._answers.turned_away(attempt)
        try:
            settled = usher.settle(attempt, await self._conductor.verdict(attempt))
            if isinstance(settled, Refuse):
                return self._refuse(attempt, settled)
            admit, audited = settled
            usher.record(attempt, "audited" if audited else "admitted", audited, admit=admit)
            self._register(attempt, admit, audited)
            return admit
        except asyncio.CancelledError:
            usher.lost(attempt, _LEFT)
            raise
        finally:
            self._env.turnstile.abandon(attempt)

    def _begin(self, stream: Stream) -> Attempt | HttpRefusal:
        # What is judged is what will be forwarded: a field that Connection takes away counts for nobody.
        headers = end_to_end(self._head.headers, besides=(b"expect",))
        handshake = read_request(replace(self._head, headers=headers))
        if isinstance(handshake, HttpRefusal):
            return handshake
        self._attempt = self._conductor.attempt(self._request, handshake, self._effective, self._tls, stream)
        return self._attempt

    def _register(self, attempt: Attempt, admit: Admit, audited: Refuse | None) -> None:
        env, policy, content = self._env, attempt.policy, self._request.content
        assert policy is not None  # a request that no policy matches is not judged, or refused
        admission = Admission(env, policy, "")
        self._passage = passage = Passage(
            admission,
            env.loop,
            env.clock.monotonic,
            policy.spec.rejection.close_timeout,
            self._head.method,
            lambda: content.total_bytes,
        )
        backend = env.backends.active_name if self._backend is None else self._backend.name
        self._conductor.usher.register(attempt, admission, admit, audited, backend, passage)

    def _refuse(self, attempt: Attempt, refusal: Refuse) -> web.Response:
        self._conductor.usher.record(attempt, "refused", refusal)
        return self._answers.refused(attempt, refusal)

    # What comes back (proxy.forward.Escort).

    def goes_to(self, backend: Backend) -> None:
        """The request is passed on to this backend: whatever comes now comes of that."""
        self._backend = backend

    async def meet(self, status: int, headers: Headers) -> web.StreamResponse | None:
        """The head of the answer has come: is it an event stream that nobody has judged yet?"""
        if self._is_preflight:
            return permission(status, headers)
        is_events = is_event_stream(headers)
        stream = Stream.SERVER_SENT_EVENTS if is_events else self.stream
        refused = None if status < HTTPStatus.BAD_REQUEST else CloseReason.BACKEND_REFUSED
        self._report(stream, refused, status, f"the backend answered {status}")
        if is_events and self._passage is None and Stream.SERVER_SENT_EVENTS in self._reach.streams:
            verdict = await self._judge(Stream.SERVER_SENT_EVENTS)
            if isinstance(verdict, web.Response):
                return verdict
        passage = self._passage
        if passage is None:
            return None
        if self.stream is None and self._scope is not None:
            passage.begin(self._scope)
            if passage.close is not None:
                return self._answers.cut(passage.close, passage.reason or CloseReason.GUARD_FAULT)
        is_readable = not headers.all(b"content-encoding")
        passage.meet(is_events=is_events and has_body(self._head.method, status), is_readable=is_readable)
        return None

    def answered(self, response: web.StreamResponse) -> None:
        """The head has gone on."""
        self._response = response
        if self._passage is not None:
            self._passage.answered()

    def take(self, chunk: bytes) -> bytes:
        """What of this part of the body goes on."""
        return chunk if self._passage is None else self._passage.take(chunk)

    def passed(self) -> bool:
        """It has. Whether that was the last of the answer that is to go on."""
        return self._passage is not None and self._passage.passed()

    def failed(self, reason: CloseReason) -> None:
        """The answer will never be whole."""
        if self._passage is None or not self._passage.has_head:
            self._report(self.stream, reason, detail="no usable answer")
        if self._passage is not None:
            self._passage.failed(reason)

    def _report(self, stream: Stream | None, reason: CloseReason | None, status: int = 0, detail: str = "") -> None:
        if stream is not None and self._backend is not None and not self._is_preflight:
            self._env.backends.answered(self._backend, reason, status, detail, stream)

    # The end.

    async def _conclude(self, response: web.StreamResponse | None) -> web.StreamResponse:
        """Bring a cut to its end. `response` is None where the forwarding was given up."""
        passage = self._passage
        if passage is None:
            assert response is not None  # nobody else ends the scope
            return response
        delivery: Delivery = "none"
        try:
            reason = passage.reason
            if passage.close is None or reason is None:
                assert response is not None
                return response
            if not passage.has_head:
                delivery = "sent"
                return self._answers.cut(passage.close, reason) if response is None else response
            if response is not None and not passage.is_over:
                return response  # it was whole before the grace was over
            assert self._response is not None  # its head has gone on
            transport, grace = self._request.transport, self._grace
            has_ended = await end_answer(self._response, transport, passage, passage.close, grace)
            delivery = "sent" if has_ended else "undelivered"
            return self._response
        finally:
            passage.end(delivery)

    @property
    def _grace(self) -> float:
        """Seconds that a cut may take."""
        policy = None if self._attempt is None else self._attempt.policy
        return 0.0 if policy is None else policy.spec.rejection.close_timeout
