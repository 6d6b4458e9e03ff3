"""Telling a client no: accept, then close with a code that a script can read, then wait until it has read it.

Browsers hide the status of a failed handshake from scripts; a Close frame's code they show. Where the policy asks for
it, or where too many refused clients are being waited for, the answer is a plain HTTP status, unless the client was
answered before (it waited for its first message to be judged): then there is the Close, or nothing.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.model import Rejection, RejectionMode
from wsguard.policy.subprotocols import echo
from wsguard.protocol.closing import http_status
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.protocol.upgrade import protocol_field, switching_protocols
from wsguard.proxy.attempt import Attempt
from wsguard.proxy.endings import Cause, Close
from wsguard.proxy.environment import Environment
from wsguard.proxy.half import Half
from wsguard.proxy.splice import Splice
from wsguard.proxy.takeover import HANDED_OVER
from wsguard.proxy.waiting import Waiting
from wsguard.proxy.wording import word
from wsguard.sessions.connection import Traffic
from wsguard.sessions.records import Delivery

SERVER = "wsguard"
"""The `Server` of the guard's own answers, in place of the versions of Python and aiohttp."""

_DEFAULT = Rejection()


class Refuser:
    """Refuses, and counts those that still linger. Owns the splices of refused clients."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._lingering = 0

    @property
    def lingering(self) -> int:
        """How many refused clients are awaited."""
        return self._lingering

    def refuse(
        self, attempt: Attempt, reason: CloseReason, status: int | None = None, wait: float = 0.0
    ) -> tuple[web.StreamResponse, int]:
        """Answer the request. Returns what the handler returns, and the close code sent (0: none was).

        `status` is the backend's, where the refusal is its own; `wait` is as in `Refuse`.
        Raises ConnectionResetError where the client left.
        """
        env, client = self._env, attempt.client
        rejection = attempt.policy.spec.rejection if attempt.policy else _DEFAULT
        guard = env.policies().guard
        close = word(reason, rejection, guard, env.rng, population=len(env.registry), status=status, wait=wait)
        mode = rejection.foreign_origin if reason is CloseReason.ORIGIN_DENIED else rejection.mode
        if mode is RejectionMode.HTTP_STATUS and not attempt.is_answered:
            return plain(http_status(reason, status), close.text), 0
        if self._lingering >= rejection.max_lingering:
            env.observer.lingering_exceeded()
            if isinstance(client, Waiting):  # it is too late for a status, and there is no room to wait for an answer
                client.abort()
                return HANDED_OVER, 0
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, close.text), 0
        self._accept_then_close(attempt, reason, close, rejection.close_timeout)
        return HANDED_OVER, close.code

    def _accept_then_close(self, attempt: Attempt, reason: CloseReason, close: Close, close_timeout: float) -> None:
        env = self._env
        splice = Splice(self, env.loop, env.clock.monotonic, close_timeout)
        client = Half(splice, FrameScanner(Sender.CLIENT), is_client=True)
        client.transport, early = attempt.hand_over(client)
        self._count(1)
        answer = b""
        if not attempt.is_answered:
            answer = switching_protocols(attempt.handshake.key, protocol_field(echo(attempt.handshake, attempt.policy)))
        splice.refuse(client, answer, reason, close, early)

    def close_for(self, reason: CloseReason, crowd: int | None = None) -> Close | None:
        """A refused client already has its Close."""
        return None

    def throttles(self, reason: CloseReason) -> bool:
        """Nobody passes anything on."""
        return False

    def ended(self, cause: Cause, delivery: Delivery, traffic: Traffic) -> None:
        """It lingers no more."""
        self._count(-1)
        self._env.observer.lingered(delivery)

    def _count(self, change: int) -> None:
        self._lingering += change
        self._env.observer.lingering(self._lingering)


def plain(status: int, text: str) -> web.Response:
    """An HTTP refusal; `retry-after=` in the text becomes the header field (RFC 9110 §10.2.3, whole seconds)."""
    headers = {"Server": SERVER, "Cache-Control": "no-store"}
    _, mark, seconds = text.partition(" retry-after=")
    if mark:
        headers["Retry-After"] = str(math.ceil(float(seconds)))
    response = web.Response(status=status, text=f"{text}\n", headers=headers)
    response.force_close()  # what a client sent behind a refused upgrade were frames: no request is to be read in them
    return response
