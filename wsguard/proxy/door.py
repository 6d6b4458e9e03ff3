"""The public port: aiohttp reads a request's head, this module says what kind of request it is.

Nothing that two HTTP parsers might read differently gets past here; see `protocol.handshake` for what aiohttp's own
parser lets through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wsguard.policy.effective import Effective, effective_request, parse_ip
from wsguard.policy.judge import answers_to
from wsguard.policy.model import NonWebSocket
from wsguard.protocol.handshake import HttpRefusal, is_attempt, read_handshake, request_problem
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.target import BadTarget, is_reserved, read_path
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.glimpses import Glimpses
from wsguard.proxy.refusal import SERVER
from wsguard.proxy.takeover import end_unreadable_body

Route = Callable[[web.BaseRequest, Effective], Awaitable[web.StreamResponse]]
"""Answers a request for one of the guard's own paths."""

_MUTE = logging.getLogger("wsguard.aiohttp")
_MUTE.disabled = True  # aiohttp's own lines quote raw header lines, cookies among them; ours do not


class _Connection(web.RequestHandler):
    """aiohttp's protocol for one client, made to answer errors without quoting the request."""

    __slots__ = ("client_ip", "door", "opened", "spoke")

    client_ip: str
    door: Door
    opened: float
    spoke: bool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.client_ip = str(peer[0]) if peer else "unknown"

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        end_unreadable_body(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self.spoke = True
        return self.door.broken(request, status, exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self.spoke:
            self.door.silent(self)
        super().connection_lost(exc)


class Door(web.Server):
    """Makes a protocol for each client and takes its requests. `routes` are the guard's own paths, exactly spelt."""

    def __init__(
        self, env: Environment, conductor: Conductor, forwarder: Forwarder, routes: Mapping[str, Route] | None = None
    ) -> None:
        timeout = env.policies().guard.listener.handshake_timeout
        super().__init__(
            self._handle,
            handler_cancellation=True,  # a client that leaves ends the wait for keys and for the backend
            loop=env.loop,
            keepalive_timeout=timeout,  # also how long a head may take to come
            access_log=None,
            logger=_MUTE,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._timeout = timeout
        self._env = env
        self._conductor = conductor
        self._forwarder = forwarder
        self._routes = routes or {}
        self._glimpses = Glimpses(env)

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self, loop=self._env.loop, **self._kwargs)
        connection.door = self
        connection.opened = self._env.loop.time()
        connection.spoke = False
        return connection

    async def shutdown(self, timeout: float | None = None) -> None:
        """End every connection, after `timeout` seconds at the latest."""
        await super().shutdown(timeout)
        await self._glimpses.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, _Connection):
            connection.spoke = True
        head = read_head(request)
        tls = request.scheme == "https"
        refusal = request_problem(head)
        if refusal is not None:
            return self._turn_away(request, refusal)
        try:
            peer = parse_ip(request.remote) if request.remote else None
            effective = effective_request(head, peer, tls, self._env.policies().guard.client_ip_detection)
        except ValueError as error:
            return self._turn_away(request, HttpRefusal(400, f"unreadable host: {error}"))
        if is_reserved(head.target):
            return await self._own(request, head, effective)
        if not is_attempt(head):
            return await self._plain(request, head, effective, tls)
        handshake = read_handshake(head)
        if isinstance(handshake, HttpRefusal):
            return self._turn_away(request, handshake)
        self._glimpses.look(handshake, effective)
        return await self._conductor.conduct(request, handshake, effective, tls)

    async def _own(self, request: web.BaseRequest, head: RequestHead, effective: Effective) -> web.StreamResponse:
        """One of the guard's own paths; a query is its route's to read."""
        route = self._routes.get(head.raw_path)
        if route is None or is_attempt(head):
            return self._turn_away(request, HttpRefusal(404, "nothing is here"))
        if not self._answers_to(effective, head.target):
            return self._turn_away(request, _no_host_of_ours(effective))
        return await route(request, effective)

    async def _plain(
        self, request: web.BaseRequest, head: RequestHead, effective: Effective, tls: bool
    ) -> web.StreamResponse:
        guard = self._env.policies().guard
        if not self._answers_to(effective, head.target):
            return self._turn_away(request, _no_host_of_ours(effective))
        if guard.non_web_socket is NonWebSocket.DENY:
            return self._turn_away(request, HttpRefusal(403, "only WebSockets are served here"))
        self._glimpses.look_at_request(head, effective)
        return await self._forwarder.forward(request, head, effective, tls)

    def _answers_to(self, effective: Effective, target: str) -> bool:
        """The Host check for plain HTTP: a rebound name reads nothing. An address cannot be rebound."""
        policies = self._env.policies()
        try:
            policy = policies.find(effective.authority, read_path(target))
        except BadTarget:  # no policy can speak for it
            policy = None
        return effective.authority.is_ip or answers_to(effective.authority, policy, policies)

    def _turn_away(self, request: web.BaseRequest, refusal: HttpRefusal) -> web.Response:
        self._env.observer.turned_away(request.remote or "unknown", refusal.status, refusal.why)
        headers = {"Server": SERVER, **dict(refusal.headers)}
        response = web.Response(status=refusal.status, text=f"{refusal.why}\n", headers=headers)
        response.force_close()  # what follows on this connection is anyone's guess: it is read by nobody
        return response

    def broken(self, request: web.BaseRequest, status: int, error: BaseException | None) -> web.Response:
        """aiohttp could not read a request, or a handler failed."""
        if not isinstance(error, HttpProcessingError):
            self._env.observer.fault("handling a request", error or RuntimeError("no handler answered"))
            return self._turn_away(request, HttpRefusal(500, "a fault of the guard"))
        return self._turn_away(request, HttpRefusal(status, "an unreadable request"))

    def silent(self, connection: _Connection) -> None:
        """A client left, or was made to leave, before its first request was whole."""
        if self._env.loop.time() - connection.opened >= self._timeout:
            token = CloseReason.HANDSHAKE_TIMEOUT.token
            self._env.observer.turned_away(connection.client_ip, HTTPStatus.REQUEST_TIMEOUT, token)


def _no_host_of_ours(effective: Effective) -> HttpRefusal:
    return HttpRefusal(
        421, f"{effective.authority.host} is no host of this guard (match.hostnames, listener.allowedHosts)"
    )


def read_head(request: web.BaseRequest) -> RequestHead:
    """The request as it came: aiohttp's own URL and headers are normalised, these are not."""
    version = request.version
    return RequestHead(
        method=request.method,
        target=request.raw_path,
        version=(version.major, version.minor),
        headers=Headers(tuple(request.raw_headers)),
    )


async def listen(loop: asyncio.AbstractEventLoop, door: Door, host: str, port: int) -> asyncio.Server:
    """Open the public port. Raises OSError."""
    return await loop.create_server(door, host, port, reuse_address=True, backlog=1024)
