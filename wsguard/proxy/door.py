"""The public port: for each client a protocol of aiohttp's, which reads its requests, and is told when it leaves.

Here it is only asked whether there is room for a request; what becomes of it the router says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wsguard.policy.certificates import read_client_certificate
from wsguard.protocol.handshake import HttpRefusal
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.crowd import Crowd, TurnedAway
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.half import reset
from wsguard.proxy.pace import deliver
from wsguard.proxy.refusal import plain
from wsguard.proxy.router import OWN, Route, Router
from wsguard.proxy.takeover import HANDED_OVER, end_unreadable_body, let_go
from wsguard.sessions.identity import ClientCertificate
from wsguard.tracebacks import forget_traceback

_COME_BACK = (1.0, 10.0)  # seconds after which whoever was turned away may ask again, spread

_MUTE = logging.getLogger("wsguard.aiohttp")
_MUTE.disabled = True  # aiohttp's own lines quote raw header lines, cookies among them; ours do not


class _Connection(web.RequestHandler):
    """aiohttp's protocol for one client, made to answer errors without quoting the request."""

    __slots__ = ("certificate", "door", "is_introduced", "opened", "source", "spoke")

    certificate: ClientCertificate | None
    door: Door
    is_introduced: bool  # `source` is what a PROXY header says
    opened: float
    source: str | None
    spoke: bool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.door.crowd.enter(self)
        if not self.is_introduced:
            peer = transport.get_extra_info("peername")
            self.source = str(peer[0]) if isinstance(peer, tuple) else None
        self.certificate = self.door.certificate_of(transport, self.source)

    async def start(self) -> None:
        try:
            await super().start()
        except asyncio.CancelledError as error:  # what it is raised through holds the task that it ends
            forget_traceback(error)
            raise

    @property
    def peername(self) -> tuple[str] | None:  # type: ignore[override]  # aiohttp's own asks the transport
        """What `request.remote` is made of."""
        return None if self.source is None else (self.source,)

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

    def make_room(self) -> None:
        """Leave, while there is nothing under way; who has not read its last answer has no time left for it.

        Nor has a peer of TLS for a goodbye: it could take `TLS_SHUTDOWN` to answer one.
        """
        transport = self.transport
        if transport is not None and (transport.get_write_buffer_size() or not transport.can_write_eof()):
            reset(transport)  # closed, it would stay until it has read and answered, and count for nobody
        self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.door.crowd.leave(self)
        if not self.spoke:
            self.door.silent(self)
        super().connection_lost(exc)
        let_go(self)


class Door(web.Server):
    """Makes a protocol for each client. `routes` are the guard's own paths, exactly spelt."""

    def __init__(
        self, env: Environment, conductor: Conductor, forwarder: Forwarder, routes: Mapping[str, Route] | None = None
    ) -> None:
        timeout = env.policies().guard.listener.handshake_timeout
        super().__init__(
            self._handle,
            handler_cancellation=True,  # a client that leaves ends the wait for keys and for the backend
            loop=env.loop,
            keepalive_timeout=timeout,  # also how long a head may take to come
            tcp_keepalive=False,  # what listens has it on, and who is accepted inherits it (`proxy.tcp`)
            access_log=None,
            logger=_MUTE,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._timeout = timeout
        self._env = env
        self._router = Router(env, conductor, forwarder, routes)
        registry, lobby = env.registry, env.lobby
        # A request that is judged is in the registry as well, but its connection is here.
        self.crowd = Crowd(env.overload, lambda: registry.sockets + len(lobby) + conductor.lingering)

    def __call__(self) -> web.RequestHandler:
        """The protocol of a connection that was just accepted."""
        return self._receive() if self.crowd.admits() else cast("web.RequestHandler", TurnedAway())

    def _receive(self) -> _Connection:
        connection = _Connection(self, loop=self._env.loop, **self._kwargs)
        connection.door = self
        connection.opened = self._env.loop.time()
        connection.source, connection.certificate = None, None
        connection.spoke = connection.is_introduced = False
        return connection

    def introduce(self, source: str | None) -> web.RequestHandler:
        """The protocol for a client at `source`, whatever peer its transport names; None: it has no address."""
        connection = self._receive()
        connection.source, connection.is_introduced = source, True
        return connection

    def certificate_of(self, transport: asyncio.BaseTransport, source: str | None) -> ClientCertificate | None:
        """What the client has shown, and the TLS library has verified. One that cannot be read ends the connection."""
        connection = transport.get_extra_info("ssl_object")
        der = None if connection is None else connection.getpeercert(binary_form=True)
        if der is None:
            return None
        try:
            return read_client_certificate(der)
        except ValueError:
            cast("asyncio.Transport", transport).abort()
            self.turned_away(source, HTTPStatus.BAD_REQUEST, "a client certificate that cannot be read")
            return ClientCertificate("")

    def turned_away(self, source: str | None, status: int, detail: str) -> None:
        """A connection did not get as far as its first request."""
        self._env.observer.turned_away(source or "unknown", status, detail)

    async def shutdown(self, timeout: float | None = None) -> None:
        """End every connection, after `timeout` seconds at the latest."""
        await super().shutdown(timeout)
        await self._router.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.spoke = True
        self.crowd.busy(connection)
        is_shed = self._env.overload.is_shedding and not request.raw_path.startswith(OWN)
        try:
            response = self._shed() if is_shed else await self._router.answer(request, connection.certificate)
            if response is not HANDED_OVER:
                await deliver(request, response, self._env.policies().guard.listener.body_timeout)
            return response
        finally:
            self.crowd.idle(connection)
            forget_traceback(request.content.exception())

    def _shed(self) -> web.Response:
        """Turn a request away unread. Not one that tells of a log-out: the session would live on."""
        self._env.overload.refuse()
        seconds = self._env.rng.uniform(*_COME_BACK)
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, f"overloaded retry-after={seconds:.1f}")

    def broken(self, request: web.BaseRequest, status: int, error: BaseException | None) -> web.Response:
        """aiohttp could not read a request, or a handler failed."""
        if not isinstance(error, HttpProcessingError):
            self._env.observer.fault("handling a request", error or RuntimeError("no handler answered"))
            return self._router.turn_away(request, HttpRefusal(500, "a fault of the guard"))
        forget_traceback(error)
        return self._router.turn_away(request, HttpRefusal(error.code or status, "an unreadable request"))

    def silent(self, connection: _Connection) -> None:
        """A client left, or was made to leave, before its first request was whole."""
        if self._env.loop.time() - connection.opened >= self._timeout:
            self.turned_away(connection.source, HTTPStatus.REQUEST_TIMEOUT, CloseReason.HANDSHAKE_TIMEOUT.token)
