"""aiohttp's HTTP, bent to pass on what came and add nothing. With takeover.py and kept.py, it relies on its inside."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    hdrs,
    web,
)
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

from wsguard.kept import OverTcp, OverUnix
from wsguard.policy.model import Backend
from wsguard.policy.socket_path import SocketPath
from wsguard.tracebacks import forget_traceback

_PATIENCE = 1.0  # seconds that a backend has to say so; one that does not know of it never will (RFC 9110 §10.1.1)
_ADDED_BY_AIOHTTP = (hdrs.CONTENT_TYPE, hdrs.DATE, hdrs.SERVER)


class AsSent(web.StreamResponse):
    """A response with the fields that the backend sent and none that aiohttp would add of its own."""

    async def _prepare_headers(self) -> None:
        absent = [name for name in _ADDED_BY_AIOHTTP if name not in self.headers]
        await super()._prepare_headers()
        for name in absent:
            self.headers.pop(name, None)
        has_bound = hdrs.CONTENT_LENGTH in self.headers or hdrs.TRANSFER_ENCODING in self.headers
        if not has_bound and not self._must_be_empty_body:
            self.force_close()  # to HTTP/1.0 this body ends with the connection: no other answer may follow it


class _Request(ClientRequest):
    """A request whose head does not wait for its body; the body waits for `100 Continue`, but not for ever."""

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        protocol = conn.protocol
        writer.send_headers()  # the backend may answer, or refuse, before the first byte of the body has come
        try:
            await super().write_bytes(writer, conn, content_length)
        finally:
            forget_traceback(None if protocol is None else protocol.exception())

    def update_expect_continue(self, expect: bool = False) -> None:
        super().update_expect_continue(expect)
        if self._continue is not None:
            self.loop.call_later(_PATIENCE, _go_on, self._continue)


class _Answer(ClientResponse):
    """An answer whose connection nobody uses again once it has switched protocols: HTTP is over there."""

    async def start(self, connection: Connection) -> ClientResponse:
        protocol = connection.protocol
        await super().start(connection)
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS and protocol is not None:
            protocol.close()
        return self


def new_session(backend: Backend) -> ClientSession:
    """Connections to `backend` that are used again."""
    address = backend.address
    return ClientSession(
        connector=OverUnix(address.path) if isinstance(address, SocketPath) else OverTcp(),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        request_class=_Request,
        response_class=_Answer,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        timeout=ClientTimeout(total=None, sock_connect=backend.connect_timeout),
        max_line_size=65_536,
        max_field_size=65_536,
    )


def _go_on(expected: asyncio.Future[bool]) -> None:
    if not expected.done():
        expected.set_result(True)
