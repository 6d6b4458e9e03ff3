"""The control API: see the connections, end some, log out, drain, migrate.

It is served on the Unix socket, whose folder keeps others out, and on the admin port to who has the token.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from wsguard.ops import requests
from wsguard.ops.audited import audited
from wsguard.ops.drainer import Drainer, DrainIsFinalError
from wsguard.ops.log import Log
from wsguard.ops.migration_api import MigrationApi
from wsguard.ops.overview import Overview
from wsguard.ops.problem import ProblemError, problems
from wsguard.ops.redact import digest, is_digest
from wsguard.ops.views import LoadedPolicies, View, connection_view, drain_view, policies_view
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.logout import Logout
from wsguard.sessions.registry import Filters, Registry

PAGE = 100
"""Connections on a page where no limit is given."""

LARGEST_PAGE = 1000
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Control:
    """What the handlers work on.

    `log_out` applies a logout here, has the other replicas told of it, and returns how many connections that cut and
    whether every stream has it; it raises ProblemError. `policies` tells what is loaded, `issuers` which issuers the
    loaded policies trust, `drain_window` the window (seconds) of a drain that names none, `overview` has the counts,
    `migration` the handlers that are about backends.
    """

    registry: Registry
    denylist: DenyList
    drainer: Drainer
    clock: Clock
    log: Log
    log_out: Callable[[Logout], Awaitable[tuple[int, bool]]]
    policies: Callable[[], LoadedPolicies]
    issuers: Callable[[], Collection[str]]
    drain_window: Callable[[], float]
    overview: Overview
    migration: MigrationApi

    @property
    def routes(self) -> Sequence[web.RouteDef]:
        """The handlers under their paths."""
        return (
            web.get("/v1/connections", self._connections),
            web.delete("/v1/connections/{id}", self._terminate),
            web.post("/v1/logout", self._logout),
            web.get("/v1/drain", self._drain_status),
            web.post("/v1/drain", self._drain),
            web.delete("/v1/drain", self._cancel_drain),
            *self.migration.routes,
            web.get("/v1/policies", self._policies),
            web.get("/v1/overview", self._overview),
        )

    async def _connections(self, request: web.Request) -> web.Response:
        asked = requests.parameters(request, "subject", "sid", "policy", "backend", "limit", "cursor")
        limit = requests.limit(asked.get("limit"), PAGE, LARGEST_PAGE)
        filters = Filters(
            subject=asked.get("subject"),
            sid=self._sid(asked.get("sid")),
            policy=asked.get("policy"),
            backend=asked.get("backend"),
        )
        page = self.registry.page(filters, limit, asked.get("cursor"))
        listed = [connection_view(connection) for connection in page.connections]
        return web.json_response({"connections": listed, "cursor": page.cursor})

    async def _terminate(self, request: web.Request) -> web.Response:
        asked = requests.parameters(request, "reason")
        reason = asked.get("reason", "")
        if len(reason) > _LONGEST_REASON:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"reason has at most {_LONGEST_REASON} characters")
        connection = self.registry.get(request.match_info["id"])
        if connection is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is no connection of this id")
        connection.link.cut(CloseReason.TERMINATED, reason)
        return web.json_response({"closed": 1})

    async def _logout(self, request: web.Request) -> web.Response:
        body = await requests.members(request, "sid", "subject", "jti", "cookie", "issuer", "issuedBefore")
        now = self.clock.wall()
        logout = requests.logout(body, now, self._is_issuer, self.issuers())
        closed, is_stored = await self.log_out(logout)
        self._tell(logout, closed, now)
        if not is_stored:  # closed here; the stream is away, and is told when it is back
            return web.json_response({"closed": closed, "stored": False}, status=HTTPStatus.ACCEPTED)
        return web.json_response({"closed": closed})

    async def _drain_status(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        return self._drain_answer()

    async def _drain(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        self.drainer.start(requests.window(await requests.members(request, "window"), self.drain_window()))
        return self._drain_answer()

    async def _cancel_drain(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        try:
            self.drainer.cancel()
        except DrainIsFinalError:
            raise ProblemError(HTTPStatus.CONFLICT, "the guard is ending: its drain cannot be taken back") from None
        return self._drain_answer()

    async def _policies(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        return web.json_response(policies_view(self.policies()))

    async def _overview(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        return web.json_response(self.overview.view())

    def _drain_answer(self) -> web.Response:
        view: View = drain_view(self.drainer.status)
        return web.json_response(view)

    def _sid(self, asked: str | None) -> str | None:
        """A sid as it is, or by the digest that lists show; a digest of no live connection finds nothing."""
        if asked is None or not is_digest(asked):
            return asked
        sids = (who.sid for connection in self.registry for who in connection.identities)
        return next((sid for sid in sids if sid is not None and digest(sid) == asked), asked)

    def _is_issuer(self, issuer: str) -> bool:
        """Configured now, or when a connection that still lives was admitted."""
        return issuer in self.issuers() or bool(self.registry.find(issuer=issuer))

    def _tell(self, logout: Logout, closed: int, now: float) -> None:
        word = logout.word if logout.kind == "subject" else digest(logout.word)
        issued_before = logout.issued_before if logout.kind == "subject" else None
        self.log.audit(
            "logout", issuer=logout.issuer, issued_before=issued_before, closed=closed, **{logout.kind: word}
        )
        if self.denylist.overflowed(now):
            self.log.event("deny_list_overflowed", logging.ERROR, entries=len(self.denylist))


def control_app(control: Control) -> web.Application:
    """The control API alone, for the Unix socket."""
    app = web.Application(middlewares=[audited(control.log), problems(control.log)], client_max_size=requests.MAX_BODY)
    app.add_routes(control.routes)
    return app
