"""What an operator asks of the control API is in the audit trail, with who asked."""

from __future__ import annotations

import socket
import struct

from aiohttp import web
from aiohttp.typedefs import Middleware

from wsguard.ops.log import Log
from wsguard.ops.problem import Handler

_PEER = struct.Struct("3i")  # struct ucred, unix(7): pid, uid, gid


def audited(log: Log) -> Middleware:
    """Writes an audit event for each request that may change something. Outermost, so that refusals are in it too."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method not in ("GET", "HEAD"):
            log.audit(
                "control_request",
                actor=actor(request),
                method=request.method,
                path=request.path,
                status=response.status,
            )
        return response

    return middleware


def actor(request: web.Request) -> str:
    """Who asks: of the Unix socket the peer's user id, of the admin port its address."""
    transport = request.transport
    peer: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    if peer is not None and peer.family == socket.AF_UNIX:
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return f"uid {uid}"
    return f"admin port, {request.remote}"
