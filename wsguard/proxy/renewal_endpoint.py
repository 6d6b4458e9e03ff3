"""`POST /.wsguard/renew?path=/ws`: a page shows a newer credential, and its live connections go on by it.

The path selects the policy, and with it the connections. That its rules would let the page in is not asked: they are
asked of each connection, and one that they are against is cut.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.judge import RENEWAL
from wsguard.policy.model import Renewal
from wsguard.protocol.handshake import HttpRefusal
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.environment import Environment
from wsguard.proxy.own_request import answer, judge_request, refused, turned_away

PATH = "/.wsguard/renew"


class RenewalEndpoint:
    """Answers with how many connections live on, and for how many seconds the credential will vouch for them."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        judged = await judge_request(self._env, request, effective, RENEWAL)
        if isinstance(judged, web.Response):
            return judged
        if judged.policy.spec.session.renewal is Renewal.OFF:
            return turned_away(self._env, effective, HttpRefusal(HTTPStatus.NOT_FOUND, "nothing is renewed here"))
        record = self._env.renewer.renew(judged.case, "renew")
        if record.cut and not record.connections:
            return refused(self._env, judged.case, Refuse(CloseReason.NOT_AUTHORIZED, "every connection was cut"))
        ends, now = judged.admit.expires_at, self._env.clock.wall()
        lifetime = None if ends is None else max(0, math.floor(ends - now))
        return answer({"connections": record.connections, "tokenLifetimeSeconds": lifetime})
