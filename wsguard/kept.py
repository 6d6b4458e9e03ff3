"""Connections to others over HTTP that are kept for the next request.

Law: what was said on one since its last answer is nobody's. To aiohttp it would be the answer to the next request, most
likely one made for another client, and each later request would get the answer to the one before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import BaseConnector, TCPConnector, UnixConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

MOST = 32
"""Connections to one address that wait for a request. Beside each open connection of the public port there is room for
one descriptor: a crowd of plain requests must not leave as many behind as there are places.
"""


class _Protocol(ResponseHandler):
    """aiohttp's protocol for one connection. An answer that nobody has read holds it: none is left where it ends."""

    def close(self) -> None:
        super().close()
        self._buffer.clear()

    def abort(self) -> None:
        super().abort()
        self._buffer.clear()


class _Kept(BaseConnector):
    """Gives out only those on which nothing waits to be read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._factory = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]  # it makes what is one

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return None

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        waiting = self._conns.get(key)
        if waiting is not None and len(waiting) > MOST:
            oldest, _since = waiting.popleft()
            oldest.abort()  # closed, it would stay until a peer that speaks TLS has said goodbye


class OverTcp(_Kept, TCPConnector):
    """Over TCP, with TLS or without; as many as there are requests."""

    def __init__(self) -> None:
        super().__init__(limit=0)


class OverUnix(_Kept, UnixConnector):
    """The same to the Unix socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path, limit=0)
