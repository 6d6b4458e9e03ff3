"""Connections to others over HTTP that are kept for the next request.

Law: what was said on one since its last answer is nobody's. To aiohttp it would be the answer to the next request, most
likely one made for another client, and each later request would get the answer to the one before it.
"""

from __future__ import annotations

from aiohttp import BaseConnector, TCPConnector, UnixConnector
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class _Silent(BaseConnector):
    """Gives out only those on which nothing waits to be read."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class OverTcp(_Silent, TCPConnector):
    """Over TCP, with TLS or without; as many as there are requests."""

    def __init__(self) -> None:
        super().__init__(limit=0)


class OverUnix(_Silent, UnixConnector):
    """The same to the Unix socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path, limit=0)
