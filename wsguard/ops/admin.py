"""The admin port: probes, metrics, the wait for a drain, a page, and the control API for who has its token.

Law: a web page may not use it. Its Host cannot be a name that was pointed here (DNS rebinding), and a request that a
browser made for another site is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware

from wsguard.ops import page, requests
from wsguard.ops.audited import audited
from wsguard.ops.control import Control
from wsguard.ops.health import Health
from wsguard.ops.metrics import Metrics
from wsguard.ops.problem import Handler, ProblemError, problem, problems
from wsguard.policy.effective import Effective
from wsguard.policy.hosts import host_allowed
from wsguard.policy.origin import SAME_HOST, Origin
from wsguard.protocol.authority import Authority, parse_authority

MAX_WAITERS = 32
"""Requests that may wait at /drain/wait at the same time; a pod needs one a container."""

_OPEN = frozenset({"/livez", "/readyz", "/startupz", "/metrics", "/drain/wait", "/v1/overview", *page.PATHS})
_OWN_SITE = frozenset({"same-origin", "none"})  # Sec-Fetch-Site of what the user or our own page asked for


class AdminPort:
    """The handlers of the admin port.

    `allowed_hosts` is `admin.allowedHosts`; `token` gives the control API's bearer token, None where it is off.
    """

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        control: Control,
        allowed_hosts: Sequence[str] = (),
        token: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._control = control
        self._drainer = control.drainer
        self._allowed_hosts = allowed_hosts
        self._token = token
        self._waiters = 0

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application(
            middlewares=[audited(self._control.log), problems(self._control.log), self._door()],
            client_max_size=requests.MAX_BODY,
        )
        app.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/startupz", self._startup),
                web.get("/metrics", self._scrape),
                web.get("/drain/wait", self._drain_wait),
                *page.routes(),
                *self._control.routes,
            ]
        )
        return app

    async def _live(self, request: web.Request) -> web.Response:
        return _text(HTTPStatus.OK, "live")

    async def _startup(self, request: web.Request) -> web.Response:
        if not self._health.started:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "starting")
        return _text(HTTPStatus.OK, "started")

    async def _ready(self, request: web.Request) -> web.Response:
        if not self._health.started:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "starting")
        if self._drainer.is_draining:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, self._drainer.status.state.value)
        if not self._health.has_heard():
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "session events are not read yet")
        return _text(HTTPStatus.OK, "ready")

    async def _scrape(self, request: web.Request) -> web.Response:
        text, media_type = self._metrics.text(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": media_type})

    async def _drain_wait(self, request: web.Request) -> web.Response:
        """Answers once a drain has finished, and may be asked before one begins: preStop hooks run side by side."""
        if self._waiters >= MAX_WAITERS:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_WAITERS} requests wait already")
        self._waiters += 1
        try:
            await self._drainer.wait()
        finally:
            self._waiters -= 1
        return _text(HTTPStatus.OK, "drained")

    def _door(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._judge_site(request)
            resource = request.match_info.route.resource
            if resource and resource.canonical not in _OPEN and not self._has_token(request):
                challenge = {"WWW-Authenticate": "Bearer"}
                return problem(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or wrong", challenge)
            return await handler(request)

        return middleware

    def _judge_site(self, request: web.Request) -> None:
        authority = self._authority(request)
        effective = Effective(None, None, authority, trusted_peer=False)
        for origin in request.headers.getall("Origin", ()):
            if not SAME_HOST.matches(Origin.parse(origin.encode("utf-8", "surrogateescape")), effective):
                raise ProblemError(HTTPStatus.FORBIDDEN, "another site's page may not use the admin port")
        if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_SITE:
            raise ProblemError(HTTPStatus.FORBIDDEN, "another site's page may not use the admin port")

    def _authority(self, request: web.Request) -> Authority:
        hosts = request.headers.getall("Host", ())
        try:
            authority = parse_authority(hosts[0] if len(hosts) == 1 else "")
        except ValueError:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the Host is not one host") from None
        own = authority.is_localhost or authority.is_ip
        if not own and not host_allowed(authority, (), self._allowed_hosts, listener_is_loopback=True):
            raise ProblemError(HTTPStatus.FORBIDDEN, "the Host is not among admin.allowedHosts")
        return authority

    def _has_token(self, request: web.Request) -> bool:
        """Raises ProblemError (404) where the control API is not on this port at all."""
        token = (self._token() or b"").strip()
        if not token:
            raise ProblemError(HTTPStatus.NOT_FOUND, "the control API is on this port only with admin.tokenFile")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_equal = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)
        return scheme.lower() == "bearer" and is_equal


def _text(status: HTTPStatus, word: str) -> web.Response:
    return web.Response(status=status, text=f"{word}\n")
