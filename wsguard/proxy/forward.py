"""Everything on the port that is no WebSocket: passed to the backend as HTTP/1.1, both bodies streamed.

aiohttp's client does the HTTP; what is ours is what may go on (RFC 9110 §7.6) and that the response comes back as the
backend sent it, chunk by chunk, so that server-sent events are not held back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Protocol, cast

from aiohttp import ClientConnectorError, ClientError, ClientResponse, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from wsguard.policy.effective import Effective, parse_ip
from wsguard.policy.forwarding import with_forwarded
from wsguard.policy.identity_headers import strip
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.model import Backend
from wsguard.policy.socket_path import SocketPath
from wsguard.protocol.hop_by_hop import end_to_end
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.environment import Environment
from wsguard.proxy.half import reset
from wsguard.proxy.http_parts import AsSent, new_session
from wsguard.proxy.leaving import SeeingOut
from wsguard.proxy.pace import Pace, flushed
from wsguard.proxy.refusal import plain
from wsguard.tracebacks import forget_traceback

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Of a request: its answer has begun, and `100 Continue` would stand in the middle of it.
_ANSWERED = web.RequestKey("answered", bool)
_HELD_UP = 0.25  # seconds at most that an answer waits for the other replicas to be told of the log-out in it
_AT_SOCKET = "http://localhost"  # what stands for the address of a Unix socket


class Escort(Protocol):
    """Who goes along with one request and its answer."""

    def goes_to(self, backend: Backend) -> None:
        """The request is passed on to this backend: whatever comes now comes of that."""
        ...

    async def meet(self, status: int, headers: Headers) -> web.StreamResponse | None:
        """The head of the answer has come. What the client gets in its place, or None."""
        ...

    def answered(self, response: web.StreamResponse) -> None:
        """The head has gone on."""
        ...

    def take(self, chunk: bytes) -> bytes:
        """What of this part of the body goes on."""
        ...

    def passed(self) -> bool:
        """It has gone on, as far as the client's buffer has room. Whether that was the last that is to."""
        ...

    def failed(self, reason: CloseReason) -> None:
        """The answer will never be whole."""
        ...


class Forwarder:
    """Passes plain HTTP on to the active backend. Made inside a running loop; close it at the end."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._seeing_out = SeeingOut(env)
        self._sessions = {name: new_session(backend) for name, backend in env.backends.by_name.items()}

    @property
    def seeing_out(self) -> int:
        """How many requests go on though their client has left."""
        return len(self._seeing_out)

    async def close(self) -> None:
        """Close the connections to the backends."""
        await self._seeing_out.close()
        for session in self._sessions.values():
            await session.close()

    async def forward(
        self,
        request: web.BaseRequest,
        head: RequestHead,
        effective: Effective,
        tls: bool,
        escort: Escort | None = None,
        outgoing: RequestHead | None = None,
    ) -> web.StreamResponse:
        """Pass one request on, and its response back. `outgoing` is what the backend gets in place of `head`."""
        with self._env.backends.request() as backend:
            return await self._forward(backend, request, head, effective, tls, escort, outgoing)

    async def _forward(
        self,
        backend: Backend,
        request: web.BaseRequest,
        head: RequestHead,
        effective: Effective,
        tls: bool,
        escort: Escort | None,
        outgoing: RequestHead | None,
    ) -> web.StreamResponse:
        headers = self._outgoing(request, head, effective, tls) if outgoing is None else _multidict(outgoing.headers)
        target = head.target if outgoing is None else outgoing.target
        expects = head.headers.tokens(b"expect") == [b"100-continue"]
        tls_context = self._env.backends.tls(backend)
        body_timeout = self._env.policies().guard.listener.body_timeout
        pace = Pace(self._env.loop, body_timeout, backend.response_timeout)
        base = _AT_SOCKET if isinstance(backend.address, SocketPath) else backend.url
        if escort is not None:
            escort.goes_to(backend)
        asking = self._sessions[backend.name].request(
            head.method,
            URL(base + target, encoded=True),
            headers=headers,
            data=_body(request, expects, pace) if request.can_read_body else None,
            expect100=expects and request.can_read_body,
            allow_redirects=False,
            ssl=True if tls_context is None else tls_context,
            server_hostname=backend.server_name,
        )
        try:
            async with await pace.answer(self._seeing_out.answer(asking, head, effective)) as answer:
                exchange = Exchange(head, effective, answer.status, _kept(answer))
                return await self._relay(request, answer, exchange, pace, escort)
        except TimeoutError as error:
            forget_traceback(error)
            _tell(escort, CloseReason.BACKEND_TIMEOUT)
            return self._failed(request, HTTPStatus.GATEWAY_TIMEOUT, "the backend did not answer in time")
        except (ClientError, OSError) as error:
            forget_traceback(error)
            if pace.is_client_slow:
                return self._failed(request, HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly")
            if isinstance(request.content.exception(), HttpProcessingError):
                return self._failed(request, HTTPStatus.BAD_REQUEST, "an unreadable body")
            is_dialled = not isinstance(error, ClientConnectorError)
            _tell(escort, CloseReason.BACKEND_INVALID if is_dialled else CloseReason.BACKEND_UNREACHABLE)
            text = "the backend gave no usable answer"
            return self._failed(request, HTTPStatus.BAD_GATEWAY, text, f"backend: {_why(error)}")

    def _outgoing(
        self, request: web.BaseRequest, head: RequestHead, effective: Effective, tls: bool
    ) -> CIMultiDict[str]:
        peer = parse_ip(request.remote) if request.remote else None
        headers = strip(end_to_end(head.headers, besides=(b"expect",)), self._env.policies().identity_header_names)
        headers = with_forwarded(headers, effective, peer, tls)
        return _multidict(headers)

    async def _relay(
        self,
        request: web.BaseRequest,
        answer: ClientResponse,
        exchange: Exchange,
        pace: Pace,
        escort: Escort | None,
    ) -> web.StreamResponse:
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            _tell(escort, CloseReason.BACKEND_INVALID)
            return self._failed(request, HTTPStatus.BAD_GATEWAY, "the backend switched protocols unasked")
        refusal = None if escort is None else await escort.meet(answer.status, exchange.answer)
        await self._notice(exchange)
        if refusal is not None:
            return refusal
        response = AsSent(status=answer.status, reason=answer.reason, headers=_multidict(exchange.answer))
        request[_ANSWERED] = True
        await response.prepare(request)
        if escort is not None:
            escort.answered(response)
        transport = request.transport
        if transport is None:
            _tell(escort, CloseReason.CLIENT_LOST)
            return response
        watch = pace.watch(transport, request.writer)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk if escort is None else escort.take(chunk))
                if escort is not None and escort.passed():
                    return response
            await response.write_eof()
            await flushed(transport)
        except (ClientError, OSError) as error:
            forget_traceback(error)
            if transport.is_closing():
                _tell(escort, CloseReason.CLIENT_LOST)
                return response  # it was the client who left, and nobody was turned away
            _tell(escort, CloseReason.BACKEND_LOST)
            # Half a body must not look like a whole one, as it would to HTTP/1.0 that ends with a FIN.
            self._env.observer.body_cut_short(request.remote or "unknown", _why(error))
            reset(transport)
        finally:
            watch.end()
        return response

    async def _notice(self, exchange: Exchange) -> None:
        """A log-out in the answer counts before the client reads of it, so that a page cannot dial again in between.

        Here that is certain. The other replicas are given a moment; what takes longer holds no answer up.
        """
        watch = self._env.session_watch
        published = None if watch is None else watch.notice(exchange)
        if published is not None:
            await asyncio.wait((published,), timeout=_HELD_UP)

    def _failed(self, request: web.BaseRequest, status: HTTPStatus, text: str, detail: str = "") -> web.Response:
        """Answer `text` for the backend; `detail` is for the operator alone."""
        self._env.observer.turned_away(request.remote or "unknown", status, detail or text)
        return plain(status, text)


def _kept(answer: ClientResponse) -> Headers:
    return end_to_end(Headers(answer.raw_headers))


async def _body(request: web.BaseRequest, expects: bool, pace: Pace) -> AsyncIterator[bytes]:
    """The request's body as it comes. Asked for only once the backend is to get it: `100 Continue` is said here."""
    if expects and _ANSWERED not in request and request.transport is not None:
        request.transport.write(_CONTINUE)
    while chunk := await pace.read(request.content):
        yield chunk


def _tell(escort: Escort | None, reason: CloseReason) -> None:
    if escort is not None:
        escort.failed(reason)


def _why(error: Exception) -> str:
    """What a log may say of `error`. aiohttp's own messages quote the query and the header lines that it chokes on."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _multidict(headers: Headers) -> CIMultiDict[str]:
    fields = ((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in headers.raw)
    return cast("CIMultiDict[str]", CIMultiDict(fields))
