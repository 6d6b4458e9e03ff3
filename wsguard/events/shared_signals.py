"""`POST /.wsguard/events`: security event tokens pushed as RFC 8935 has it, one a request."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from wsguard.events.pushed import Intake, Refusal, answer
from wsguard.policy.effective import Effective

PATH = "/.wsguard/events"
_SET = "application/secevent+jwt"


class SharedSignalsEndpoint:
    """Answers a transmitter. `authorization` gives what the Authorization field may be; nothing: anything."""

    def __init__(self, intake: Intake, authorization: Callable[[], tuple[bytes, ...]]) -> None:
        self._intake = intake
        self._authorization = authorization

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        """202 once the event is stored, again for one that was sent before; an error as RFC 8935 §2.3 has it."""
        try:
            body = await self._intake.body(request, effective, _SET)
            if not self._is_authorized(request):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "authentication_failed", "Authorization is missing or wrong")
            text = body.decode("ascii", "replace").strip()
            # A transmitter that lost our answer sends the event again (RFC 8935 §2): that is no attack.
            await self._intake.take(text, is_replay_fine=True)
        except Refusal as refusal:
            self._intake.refused()
            return answer(refusal.status, {"err": refusal.code, "description": refusal.detail})
        return answer(HTTPStatus.ACCEPTED)

    def _is_authorized(self, request: web.BaseRequest) -> bool:
        wanted = self._authorization()
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return not wanted or any(hmac.compare_digest(given, each) for each in wanted)
