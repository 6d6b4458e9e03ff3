"""What a judged request is told in place of the backend's answer, or of the rest of it: no, or what a page may ask.

Plain HTTP, whatever `rejection.mode` says; a page whose Origin is allowed may read why it was refused.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective, written_ip
from wsguard.policy.model import Rejection
from wsguard.protocol.closing import http_status
from wsguard.protocol.event_stream import last_words
from wsguard.protocol.handshake import HttpRefusal
from wsguard.protocol.http import Headers, RequestHead, folded
from wsguard.protocol.reasons import Advice, CloseReason
from wsguard.proxy.attempt import Attempt
from wsguard.proxy.endings import Close
from wsguard.proxy.environment import Environment
from wsguard.proxy.half import reset
from wsguard.proxy.pace import flushed
from wsguard.proxy.passage import Passage
from wsguard.proxy.refusal import SERVER, plain
from wsguard.proxy.wording import word
from wsguard.sessions.drain import retry_after

_DEFAULT = Rejection()
_UNREADABLE_BY_PAGES = frozenset((CloseReason.ORIGIN_DENIED, CloseReason.HOST_DENIED, CloseReason.NO_POLICY))


class Answers:
    """Of the guard's own, to one request."""

    def __init__(self, env: Environment, head: RequestHead, effective: Effective) -> None:
        self._env = env
        self._head = head
        self._effective = effective

    def turned_away(self, refusal: HttpRefusal) -> web.Response:
        """It could not even be judged."""
        client_ip = written_ip(self._effective.client_ip)
        self._env.observer.turned_away(client_ip, refusal.status, refusal.why)
        return plain(HTTPStatus(refusal.status), refusal.why)

    def refused(self, attempt: Attempt, refusal: Refuse) -> web.Response:
        """The verdict on `attempt`."""
        rejection = attempt.policy.spec.rejection if attempt.policy else _DEFAULT
        env, guard = self._env, attempt.case.policies.guard
        close = word(refusal.reason, rejection, guard, env.rng, population=len(env.registry), wait=refusal.wait)
        return self.cut(close, refusal.reason)

    def cut(self, close: Close, reason: CloseReason) -> web.Response:
        """The status and the word; and always when to try again at the earliest, since pollers come back whatever."""
        response = plain(http_status(reason), close.text)
        if "Retry-After" not in response.headers:
            seconds = retry_after(self._env.rng, Advice.BACK_OFF, len(self._env.registry))
            response.headers["Retry-After"] = str(math.ceil(seconds or 0.0))
        origin = self._head.headers.first(b"origin")
        if origin is not None and reason not in _UNREADABLE_BY_PAGES:  # a page that may connect may read why it may not
            response.headers["Access-Control-Allow-Origin"] = origin.decode("latin-1")
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
            response.headers["Vary"] = "Origin"
        return response


def permission(status: int, headers: Headers) -> web.Response:
    """What a browser reads of the application's answer to a preflight (Fetch §4.8): the status, and who may ask what.

    No more of it goes on: nobody has shown a credential, and any program may call its request a preflight.
    """
    response = web.Response(status=status, headers={"Server": SERVER})
    for name, value in headers.raw:
        if folded(name).startswith(b"access-control-") or folded(name) == b"vary":
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response


async def end_answer(
    response: web.StreamResponse, transport: asyncio.Transport | None, passage: Passage, close: Close, grace: float
) -> bool:
    """End an event stream as a server does, within `grace` seconds; what cannot be ended so must not look whole.

    Whether its client was told.
    """
    can_end = passage.is_events and not passage.is_stalled and response.content_length is None
    if transport is not None and can_end:
        try:
            async with asyncio.timeout(grace):
                if passage.can_speak:
                    text, _, seconds = close.text.partition(" retry-after=")
                    await response.write(last_words(text, float(seconds) if seconds else None))
                await response.write_eof()
                await flushed(transport)
                return not transport.is_closing()
        except (TimeoutError, OSError):
            pass  # it does not read, or has left
    if transport is not None:
        reset(transport)
    return False
