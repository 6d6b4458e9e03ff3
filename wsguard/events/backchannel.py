"""`POST /.wsguard/backchannel-logout`: OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl

from aiohttp import web

from wsguard.events.pushed import Intake, Refusal, answer
from wsguard.policy.effective import Effective

PATH = "/.wsguard/backchannel-logout"
_FORM = "application/x-www-form-urlencoded"


class BackChannelEndpoint:
    """Answers an OpenID provider."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        """200 once the log-out is stored; an error as §2.8 has it."""
        try:
            body = await self._intake.body(request, effective, _FORM)
            token, source = self._intake.read(_logout_token(body))
            await self._intake.take(token, source, is_replay_fine=False)
        except Refusal as refusal:
            self._intake.refused()
            return answer(refusal.status, {"error": _error(refusal), "error_description": refusal.detail})
        return answer(HTTPStatus.OK)


def _logout_token(body: bytes) -> str:
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=16)
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the body is not a form") from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the form has not exactly one logout_token")
    return tokens[0]


def _error(refusal: Refusal) -> str:
    """§2.8 knows `invalid_request` for whatever is wrong with the token."""
    return refusal.code if refusal.status is not HTTPStatus.BAD_REQUEST else "invalid_request"
