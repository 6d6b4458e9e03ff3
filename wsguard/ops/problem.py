"""Errors of the admin port and the control API as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware

from wsguard.ops.log import Log, describe

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ProblemError(Exception):
    """Why a request was not done: an HTTP status, and a sentence for who sent it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problems(log: Log) -> Middleware:
    """Turns whatever a handler raises into a problem; a bug is logged and tells the client nothing."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ProblemError as error:
            return problem(error.status, error.detail)
        except web.HTTPException as error:
            return problem(HTTPStatus(error.status), error.reason, _kept(error))
        except Exception as error:
            log.event("fault", logging.ERROR, where=f"{request.method} {request.path}", **describe(error))
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the guard failed; its log says where")

    return middleware


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A problem of no special type (RFC 9457 §4.2.1: its title is the status's phrase)."""
    body = {"title": status.phrase, "status": status.value, "detail": detail}
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers)


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
