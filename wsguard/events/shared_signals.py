"""`POST /.wsguard/events`: security event tokens pushed as RFC 8935 has it, one a request."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from aiohttp import web

from wsguard.events.assemble import Files
from wsguard.events.pushed import Intake, Refusal, Source, answer
from wsguard.policy.effective import Effective

PATH = "/.wsguard/events"
_SET = "application/secevent+jwt"


class SharedSignalsEndpoint:
    """Answers a transmitter. `files` gives the contents of the files that hold what Authorization must be."""

    def __init__(self, intake: Intake, files: Files) -> None:
        self._intake = intake
        self._files = files

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        """202 once the event is stored, again for one that was sent before; an error as RFC 8935 §2.3 has it."""
        try:
            body = await self._intake.body(request, effective, _SET)
            token, source = self._intake.read(body.decode("ascii", "replace").strip())
            if not self._is_authorized(request, source):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "authentication_failed", "Authorization is missing or wrong")
            # A transmitter that lost our answer sends the event again (RFC 8935 §2): that is no attack.
            await self._intake.take(token, source, is_replay_fine=True)
        except Refusal as refusal:
            self._intake.refused()
            return answer(refusal.status, {"err": refusal.code, "description": refusal.detail})
        return answer(HTTPStatus.ACCEPTED)

    def _is_authorized(self, request: web.BaseRequest, source: Source) -> bool:
        """By what `source` itself is to show: another transmitter's word does not speak for it."""
        if source.authorization_file is None:
            return True
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._files()[source.authorization_file].strip())
