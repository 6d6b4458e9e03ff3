"""What every little server of the tests does at its beginning and its end."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

from aiohttp import web


class TcpServer:
    """Listens on a free port of 127.0.0.1 while it is entered. A subclass says in `serve` what it does for a client.

    At the end its `tasks` are cancelled, and the connections of its `writers` aborted.
    """

    def __init__(self) -> None:
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The server as a backend."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has come."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            writer.transport.abort()


class HttpServer:
    """What `runner` runs, on a port of 127.0.0.1 while it is entered; entered again, on the same one.

    Whoever wants to keep its callers waiting awaits `gate`, which is open at first and at the end.
    """

    def __init__(self, runner: web.BaseRunner, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._runner, self._tls = runner, tls

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        await self.stop()

    async def stop(self) -> None:
        """Be gone: whoever connects is refused."""
        await self._runner.cleanup()
