"""What kind of request has come, and who takes it: one of the guard's own paths, a handshake, or plain HTTP.

Nothing that two HTTP parsers might read differently gets past here; see `protocol.handshake` for what aiohttp's own
parser lets through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from wsguard.policy.checks import answers_to
from wsguard.policy.effective import Effective, effective_request, parse_ip
from wsguard.policy.model import NonWebSocket
from wsguard.protocol.handshake import HttpRefusal, is_attempt, read_handshake, request_problem
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.target import BadTarget, is_reserved, read_path
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.glimpses import Glimpses
from wsguard.proxy.refusal import SERVER
from wsguard.proxy.streams import Streams
from wsguard.sessions.identity import ClientCertificate

Route = Callable[[web.BaseRequest, Effective], Awaitable[web.StreamResponse]]
"""Answers a request for one of the guard's own paths."""

OWN = "/.wsguard/"
"""Where the guard's own paths begin."""


class Router:
    """Takes the requests of every client. `routes` are the guard's own paths, exactly spelt."""

    def __init__(
        self, env: Environment, conductor: Conductor, forwarder: Forwarder, routes: Mapping[str, Route] | None = None
    ) -> None:
        self._env = env
        self._conductor = conductor
        self._forwarder = forwarder
        self._routes = routes or {}
        self._glimpses = Glimpses(env)
        self._streams = Streams(env, conductor, forwarder)

    async def close(self) -> None:
        """Wait for nothing any more."""
        await self._glimpses.close()

    async def answer(self, request: web.BaseRequest, certificate: ClientCertificate | None) -> web.StreamResponse:
        """Whatever it is; `certificate` is what its client has shown."""
        head = read_head(request)
        tls = request.scheme == "https"
        refusal = request_problem(head)
        if refusal is not None:
            return self.turn_away(request, refusal)
        try:
            peer = parse_ip(request.remote) if request.remote else None
            detection = self._env.policies().guard.client_ip_detection
            effective = effective_request(head, peer, tls, detection, certificate)
        except ValueError as error:
            return self.turn_away(request, HttpRefusal(400, f"unreadable host or Forwarded: {error}"))
        if is_reserved(head.target):
            return await self._own(request, head, effective)
        if not is_attempt(head):
            return await self._plain(request, head, effective, tls)
        handshake = read_handshake(head)
        if isinstance(handshake, HttpRefusal):
            return self.turn_away(request, handshake)
        self._glimpses.look(handshake, effective)
        return await self._conductor.conduct(request, handshake, effective, tls)

    async def _own(self, request: web.BaseRequest, head: RequestHead, effective: Effective) -> web.StreamResponse:
        """One of the guard's own paths; a query is its route's to read."""
        route = self._routes.get(head.raw_path)
        if route is None or is_attempt(head):
            return self.turn_away(request, HttpRefusal(404, "nothing is here"))
        if not self._answers_to(effective, head.target):
            return self.turn_away(request, _no_host_of_ours(effective))
        return await route(request, effective)

    async def _plain(
        self, request: web.BaseRequest, head: RequestHead, effective: Effective, tls: bool
    ) -> web.StreamResponse:
        guard = self._env.policies().guard
        if not self._answers_to(effective, head.target):
            return self.turn_away(request, _no_host_of_ours(effective))
        is_denied = guard.non_web_socket is NonWebSocket.DENY
        if self._env.policies().judges_http:
            errand = self._streams.errand(request, head, effective, tls)
            if errand is not None and not (is_denied and errand.stream is None):
                self._glimpses.look_at_request(head, effective)
                return await errand.run()
        if is_denied:
            return self.turn_away(request, HttpRefusal(403, "only WebSockets are served here"))
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

    def turn_away(self, request: web.BaseRequest, refusal: HttpRefusal) -> web.Response:
        """It is nothing that is judged or forwarded: say why, and hear no more on its connection."""
        self._env.observer.turned_away(request.remote or "unknown", refusal.status, refusal.why)
        headers = {"Server": SERVER, **dict(refusal.headers)}
        response = web.Response(status=refusal.status, text=f"{refusal.why}\n", headers=headers)
        response.force_close()  # what follows on this connection is anyone's guess: it is read by nobody
        return response


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
