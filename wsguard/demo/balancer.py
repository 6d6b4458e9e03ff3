"""A TCP balancer before several replicas, as a Service of Kubernetes is.

It knows who is ready, and nothing of WebSockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, cast

import aiohttp

_PERIOD = 0.25  # seconds between two rounds of probes
_PROBE = 1.0  # seconds that a probe may take


class Endpoint(Protocol):
    """A replica as a balancer sees it.

    `port` is that of its service, on 127.0.0.1 as all is here; `probes` are addresses, `is_ending` marks one that goes.
    """

    @property
    def port(self) -> int: ...

    @property
    def probes(self) -> Sequence[str]: ...

    @property
    def is_ending(self) -> bool: ...


class Balancer:
    """A TCP balancer: each new connection goes to the next replica that is ready, and stays there.

    Ready is, as in Kubernetes, whose probes answer 200 and who is not marked as ending.
    """

    def __init__(self, port: int = 0) -> None:
        """It will listen on `port`; 0: any."""
        self.replicas: list[Endpoint] = []
        self.port = port
        self._ready: list[Endpoint] = []
        self._probed = asyncio.Condition()
        self._turn = 0
        self._carried: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._probing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def until_ready(self, replica: Endpoint) -> None:
        """Return once `replica` gets new connections."""
        async with self._probed:
            await self._probed.wait_for(lambda: replica in self._ready)

    async def until_gone(self, replica: Endpoint) -> None:
        """Return once `replica` gets no new connections."""
        async with self._probed:
            await self._probed.wait_for(lambda: replica not in self._ready)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Front(self._carried, self._next), "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PROBE))
        self._probing = asyncio.create_task(self._probe())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._session is not None
        assert self._probing is not None
        self._server.close()
        self._probing.cancel()
        await asyncio.gather(self._probing, return_exceptions=True)
        await self._session.close()
        for transport in tuple(self._carried):
            transport.abort()

    def _front(self) -> _Front:
        return _Front(self._carried, self._next)

    def _next(self) -> int | None:
        """The port for a new connection."""
        if not self._ready:
            return None
        self._turn += 1
        return self._ready[self._turn % len(self._ready)].port

    async def _probe(self) -> None:
        while True:
            replicas = tuple(self.replicas)
            answers = await asyncio.gather(*(self._answers(replica) for replica in replicas))
            self._ready = [replica for replica, answer in zip(replicas, answers, strict=True) if answer]
            async with self._probed:
                self._probed.notify_all()
            await asyncio.sleep(_PERIOD)

    async def _answers(self, replica: Endpoint) -> bool:
        assert self._session is not None
        for url in () if replica.is_ending else replica.probes:
            try:
                async with self._session.get(url) as response:
                    if response.status != 200:
                        return False
            except (aiohttp.ClientError, TimeoutError):
                return False
        return not replica.is_ending


class _Side(asyncio.Protocol):
    """One end of a connection through the balancer; what comes goes to the other one, its end included.

    What the other one does not take yet is kept: nobody here sends more than that is good for.
    """

    def __init__(self, carried: set[asyncio.Transport], other: _Side | None = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.is_over = False
        self._carried = carried

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._carried.add(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.is_over = True
        if self.other and self.other.transport:
            self.other.transport.write_eof()
        return self.other is None or not self.other.is_over  # the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport:
            self._carried.discard(self.transport)
        self.transport = None
        if self.other and self.other.transport:
            if error:
                self.other.transport.abort()
            else:
                self.other.transport.close()


class _Front(_Side):
    """The client's end: nothing is read of it until a replica has taken the connection."""

    def __init__(self, carried: set[asyncio.Transport], choose: Callable[[], int | None]) -> None:
        super().__init__(carried)
        self._choose = choose
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport
        self.transport.pause_reading()
        self._dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        port = self._choose()
        try:
            if port is None:
                raise ConnectionRefusedError
            _, self.other = await asyncio.get_running_loop().create_connection(
                lambda: _Side(self._carried, self), "127.0.0.1", port
            )
        except OSError:
            if self.transport:
                self.transport.abort()
            return
        if self.transport:
            self.transport.resume_reading()
        elif self.other.transport:
            self.other.transport.abort()
