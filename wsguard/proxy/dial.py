"""The backend's side of a handshake: connect, send the request, read the answer's head, prove it.

The transport comes back paused, so that not a byte behind the 101 is read before the splice is there to take it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from wsguard.policy.model import Backend
from wsguard.policy.socket_path import SocketPath
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.upgrade import Answer, AnswerReader, BadAnswer
from wsguard.proxy.takeover import WRITE_HIGH_WATER
from wsguard.proxy.tcp import keep


class DialError(Exception):
    """The backend gave no usable answer. The sentence says what happened."""

    def __init__(self, reason: CloseReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Dialer(asyncio.Protocol):
    """Writes the request as soon as it can, and reads until the answer's head is whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self._request = request
        self._reader = AnswerReader()
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[Answer] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, and no subclass
        self.transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        keep(self.transport.get_extra_info("socket"))
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        try:
            answer = self._reader.feed(data)
        except BadAnswer as error:
            self._fail(str(error))
            return
        if answer is not None and self.transport is not None:
            self.transport.pause_reading()
            self.answer.set_result(answer)

    def eof_received(self) -> bool:
        self._fail("it closed the connection before its answer was whole")
        # A FIN behind a whole answer is the splice's to see. TLS ends both ways at once.
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost before its answer was whole: {exc}")

    def _fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(DialError(CloseReason.BACKEND_INVALID, f"the backend's answer: {why}"))


async def dial(
    loop: asyncio.AbstractEventLoop, backend: Backend, tls: ssl.SSLContext | None, request: bytes, timeout: float
) -> tuple[asyncio.Transport, Answer]:
    """Send `request` to `backend` and read its final answer, within `timeout` seconds.

    `tls` is what is trusted of it, where it speaks TLS. Raises DialError; on that, and on cancellation, the backend's
    connection is gone.
    """
    dialer = _Dialer(loop, request)
    connected = False
    try:
        end = loop.time() + timeout
        async with asyncio.timeout(min(backend.connect_timeout, timeout)) as deadline:
            await connect(loop, lambda dialer=dialer: dialer, backend, tls)  # type: ignore[misc]
            connected = True
            deadline.reschedule(end)
            answer = await dialer.answer
            assert dialer.transport is not None
            transport, dialer.transport = dialer.transport, None
            return transport, answer
    except TimeoutError:
        what = "the backend sent no answer in time" if connected else "connecting to the backend took too long"
        raise DialError(CloseReason.BACKEND_TIMEOUT, what) from None
    except OSError as error:
        raise DialError(CloseReason.BACKEND_UNREACHABLE, f"cannot connect to the backend: {error}") from error
    finally:
        if not dialer.answer.cancel() and not dialer.answer.cancelled():
            dialer.answer.exception()  # looked at, so that asyncio does not complain of it
        if dialer.transport is not None:
            dialer.transport.abort()
            dialer.transport = None
        del dialer  # it has the exception, whose traceback has this frame: together they would wait for the collector


async def connect(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], asyncio.BaseProtocol],
    backend: Backend,
    tls: ssl.SSLContext | None,
) -> asyncio.Transport:
    """A connection to `backend`, nothing said yet. Raises OSError, among them whatever is wrong with a certificate."""
    address = backend.address
    if isinstance(address, SocketPath):
        transport, _ = await loop.create_unix_connection(protocol, address.path)
    elif backend.is_tls:
        assert tls is not None  # else asyncio would speak plain TCP
        host, port = address.host, address.port
        try:
            transport, _ = await loop.create_connection(
                protocol, host, port, ssl=tls, server_hostname=backend.server_name
            )
        except ssl.SSLCertVerificationError as error:  # whose text ends with a line of CPython's own source
            raise ConnectionError(f"certificate verify failed: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise ConnectionError(f"no TLS: {error.reason or 'unreadable'}") from None
    else:
        transport, _ = await loop.create_connection(protocol, address.host, address.port)
    return transport
