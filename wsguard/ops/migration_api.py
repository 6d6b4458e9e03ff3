"""The part of the control API that moves connections between backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from wsguard.ops import requests
from wsguard.ops.migration import MigrationError
from wsguard.ops.migrator import Migrator
from wsguard.ops.problem import ProblemError
from wsguard.ops.views import migration_view


@dataclass(frozen=True, slots=True)
class MigrationApi:
    """The handlers. `window` is the window (seconds) of a migration that names none."""

    migrator: Migrator
    window: Callable[[], float]

    @property
    def routes(self) -> Sequence[web.RouteDef]:
        """The handlers under their paths."""
        return (
            web.get("/v1/migrate", self._status),
            web.post("/v1/migrate", self._start),
            web.delete("/v1/migrate", self._abort),
        )

    async def _status(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        return self._answer()

    async def _start(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        body = await requests.members(request, "to", "window")
        target, window = requests.target(body), requests.window(body, self.window())
        try:
            await self.migrator.start(target, window)
        except MigrationError as error:
            status = HTTPStatus.BAD_REQUEST if error.is_usage else HTTPStatus.CONFLICT
            raise ProblemError(status, str(error)) from None
        return self._answer()

    async def _abort(self, request: web.Request) -> web.Response:
        requests.parameters(request)
        try:
            await self.migrator.abort()
        except MigrationError as error:
            raise ProblemError(HTTPStatus.CONFLICT, str(error)) from None
        return self._answer()

    def _answer(self) -> web.Response:
        return web.json_response(migration_view(self.migrator.status))
