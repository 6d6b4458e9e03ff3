"""Telling a client no: accept, then close with a code that a script can read, then wait until it has read it.

Browsers hide the status of a failed handshake from scripts; a Close frame's code they show. Where the policy asks for
it, or where too many refused clients are being waited for, the answer is a plain HTTP status.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.model import Rejection, RejectionMode, WebSocketPolicy
from wsguard.policy.subprotocols import echo
from wsguard.protocol.closing import http_status
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner, Sender
from wsguard.protocol.upgrade import switching_protocols
from wsguard.proxy.endings import Cause, Close
from wsguard.proxy.environment import Environment
from wsguard.proxy.half import Half
from wsguard.proxy.splice import Splice
from wsguard.proxy.takeover import HANDED_OVER, take_over
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

    def refuse(
        self,
        request: web.BaseRequest,
        handshake: Handshake,
        policy: WebSocketPolicy | None,
        reason: CloseReason,
        status: int | None = None,
    ) -> tuple[web.StreamResponse, int]:
        """Answer the request. Returns what the handler returns, and the close code sent (0: an HTTP status was).

        `status` is the backend's, where the refusal is its own. Raises ConnectionResetError where the client left.
        """
        env = self._env
        rejection = policy.spec.rejection if policy else _DEFAULT
        guard = env.policies().guard
        close = word(reason, rejection, guard, env.rng, population=len(env.registry), status=status)
        mode = rejection.foreign_origin if reason is CloseReason.ORIGIN_DENIED else rejection.mode
        if mode is RejectionMode.HTTP_STATUS:
            return plain(http_status(reason, status), close.text), 0
        if self._lingering >= rejection.max_lingering:
            env.observer.lingering_exceeded()
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, close.text), 0
        self._accept_then_close(request, handshake, policy, reason, close, rejection.close_timeout)
        return HANDED_OVER, close.code

    def _accept_then_close(
        self,
        request: web.BaseRequest,
        handshake: Handshake,
        policy: WebSocketPolicy | None,
        reason: CloseReason,
        close: Close,
        close_timeout: float,
    ) -> None:
        env = self._env
        splice = Splice(self, env.loop, env.clock.monotonic, close_timeout)
        client = Half(splice, FrameScanner(Sender.CLIENT), is_client=True)
        client.transport, early = take_over(request, client)
        self._count(1)
        chosen = echo(handshake, policy)
        fields = ((b"Sec-WebSocket-Protocol", chosen.encode("ascii")),) if chosen else ()
        splice.refuse(client, switching_protocols(handshake.key, Headers(fields)), reason, close, early)

    def close_for(self, reason: CloseReason, crowd: int | None = None) -> Close | None:
        """A refused client already has its Close."""
        return None

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
