"""Taking a client's transport out of aiohttp's hands: with http_parts.py and kept.py, what relies on its inside.

After the hand-over nothing of aiohttp is left on the connection: no task, no timer, no request object, which is three
quarters of the memory of an idle connection. The order of the lines matters; aiohttp's version is pinned for it, and
tests/proxy/test_takeover.py fails loudly when a new one behaves differently.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import NoReturn, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_websocket import WebSocketReader
from aiohttp.web_protocol import _ErrInfo

from wsguard.tracebacks import forget_traceback

WRITE_HIGH_WATER = 65_536
"""Bytes waiting towards a peer above which the other side's reading is paused. uvloop's own low-water mark is 16."""


class _Tail:
    """Stands where aiohttp expects a WebSocket reader, and keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


class _HandedOver(web.Response):
    """What a handler returns whose transport is no longer aiohttp's: there is nobody to send it to."""

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        raise ConnectionResetError


HANDED_OVER = _HandedOver(status=HTTPStatus.SWITCHING_PROTOCOLS)


def take_over(request: web.BaseRequest, new: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
    """Hand the transport of an upgrade request to `new`; returns it with the bytes that came behind the request.

    `new.connection_made` is never called. The caller answers the request itself, on the transport, and its handler
    returns HANDED_OVER at once. Raises ConnectionResetError where the client is gone already. There is no await inside:
    no byte can arrive between two lines.
    """
    protocol, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client left during the handshake")
    tail = _Tail()
    protocol.set_parser(cast("WebSocketReader", tail))  # gives up the tail, and ends a pause of reading
    transport.set_protocol(new)
    protocol.transport = None  # else the next line would close it
    protocol.connection_lost(None)  # aiohttp's own tear-down: task, keep-alive timer, server.connections
    transport.set_write_buffer_limits(WRITE_HIGH_WATER)
    return transport, tail.data


def end_unreadable_body(protocol: web.RequestHandler) -> None:
    """Tell whoever reads the body of the request under way that no more of it can be read.

    aiohttp keeps what its parser could not read as the next request's fault, and lets the handler of this one wait.
    """
    request = protocol._current_request
    fault = protocol._messages[-1][0] if protocol._messages else None
    if request is None or not isinstance(fault, _ErrInfo) or not isinstance(fault.exc, HttpProcessingError):
        return
    if not request.content.is_eof() and request.content.exception() is None:
        request.content.set_exception(fault.exc)


def let_go(protocol: web.RequestHandler) -> None:
    """Of a connection that is over, or has come to nothing: what holds it and is held by it.

    That is its parser, where there never was a transport to lose, and each request that nobody has looked at yet: its
    body holds the connection, and so do the frames in which it could not be read.
    """
    protocol._parser = None
    for message, _ in protocol._messages:
        if isinstance(message, _ErrInfo):
            forget_traceback(message.exc)
    protocol._messages.clear()
