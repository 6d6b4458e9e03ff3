"""The handshake with another backend for a client that has its 101: what is sent, and what the answer must be.

It is the request that the first backend had, and must be answered as that one answered: the client cannot be told of
another subprotocol or extension any more.
"""

from __future__ import annotations

import asyncio
import base64
import os
from http import HTTPStatus

from wsguard.policy.model import Backend
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.upgrade import Answer, BadAnswer, check_switch, subprotocol_of, upgrade_request
from wsguard.proxy.dial import DialError, dial
from wsguard.proxy.environment import Environment
from wsguard.proxy.outgoing import offered
from wsguard.proxy.redialer import Outcome

REDIAL = b"X-Wsguard-Redial"
"""The field that tells a backend that it is not the first for its client, and which redial this is: 1, 2, 3."""

_TRY_AGAIN = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS))


class NoBackend(Exception):
    """There is none for the client yet, or there will be none: a sentence, and the `outcome` of the redial."""

    def __init__(self, outcome: Outcome, problem: str) -> None:
        super().__init__(problem)
        self.outcome = outcome


async def redial(
    env: Environment, backend: Backend, head: RequestHead, subprotocol: str, timeout: float
) -> tuple[asyncio.Transport, bytes]:
    """Have `backend` answer `head` within `timeout` seconds, as one answers to whom a client can go that speaks so.

    Returns its transport, and what has come behind the 101. What came of it is told of as of any handshake.
    Raises NoBackend.
    """
    try:
        transport, answer = await dial(env.loop, backend, env.backends.tls(backend), upgrade_request(head), timeout)
    except DialError as error:
        env.backends.answered(backend, error.reason, detail=str(error))
        raise NoBackend(Outcome.FAILED, str(error)) from None
    problem = answer_problem(answer, head, subprotocol)
    reason = CloseReason.BACKEND_REFUSED if problem is not None else None
    env.backends.answered(backend, reason, answer.status, problem or "")
    if problem is not None:
        transport.abort()
        raise NoBackend(Outcome.FAILED if may_change(answer) else Outcome.REFUSED, problem)
    return transport, answer.tail


def redial_request(head: RequestHead, number: int) -> RequestHead:
    """`head` for the `number`th time after the first, with a key of its own (RFC 6455 §4.1)."""
    fields = head.headers.without((b"sec-websocket-key",)).raw
    own = ((b"Sec-WebSocket-Key", base64.b64encode(os.urandom(16))), (REDIAL, b"%d" % number))
    return RequestHead(head.method, head.target, head.version, Headers((*fields, *own)))


def answer_problem(answer: Answer, head: RequestHead, subprotocol: str) -> str | None:
    """Why `answer` to `head` does not let a client go on that speaks `subprotocol` ("": none); None: it does."""
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        return f"the backend answered {answer.status}"
    try:
        check_switch(answer, head.headers.first(b"sec-websocket-key") or b"", offered(head), None)
    except BadAnswer as error:
        return f"the backend's answer: {error}"
    if (chosen := subprotocol_of(answer.headers)) != subprotocol:
        return f"the backend speaks {chosen or 'no subprotocol'} now, the client {subprotocol or 'none'}"
    return None


def may_change(answer: Answer) -> bool:
    """Whether a backend that answered so may answer otherwise soon."""
    return answer.status in _TRY_AGAIN or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
