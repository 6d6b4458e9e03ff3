"""`POST /.wsguard/handshake-token?path=/ws`: a token for the handshake that the page is about to open."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.effective import Effective
from wsguard.policy.handshake_token import NONCE, issue
from wsguard.protocol.handshake import HttpRefusal
from wsguard.proxy.environment import Environment
from wsguard.proxy.own_request import answer, judge_request, turned_away

PATH = "/.wsguard/handshake-token"


class HandshakeTokenEndpoint:
    """Answers the application's own pages."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        """`{"token", "expiresIn"}` (seconds) for whom the policy would admit; 404 where that has no tokens."""
        keys = self._env.token_keys()  # now, as the policies that judge: a reload may come while others are asked
        judged = await judge_request(self._env, request, effective)
        if isinstance(judged, web.Response):
            return judged
        spec = judged.policy.spec.origin.handshake_token
        if spec is None:
            refusal = HttpRefusal(HTTPStatus.NOT_FOUND, f"policy {judged.policy.name} has no handshakeToken")
            return turned_away(self._env, effective, refusal)
        token = issue(judged.case, judged.policy, spec.max_age)
        sealed = keys[spec.secret_file].seal(token, secrets.token_bytes(NONCE))
        return answer({"token": sealed, "expiresIn": int(spec.max_age) if spec.max_age >= 1 else spec.max_age})
