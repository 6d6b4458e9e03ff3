"""Listening, and what comes before HTTP on a connection: the PROXY header, and TLS.

Each connection is given the TLS context that is in force when it comes, and keeps it: new certificates end nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Protocol

from wsguard.policy.model import HostPort, Listener
from wsguard.policy.socket_path import SocketPath
from wsguard.protocol.proxy_header import BadProxyHeader, read, wanted
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.door import Door
from wsguard.proxy.half import LINGER_0
from wsguard.proxy.takeover import let_go
from wsguard.proxy.tcp import keep

_BACKLOG = 1024
_AT_ONCE = 64  # connections that one turn of the loop takes, so that the open ones have their turn too
_RECOVER = 1.0  # seconds without new connections, once the process has no descriptor left for one
_ANSWER = 1.0  # seconds that a guard already there may take to accept

TLS_SHUTDOWN = 2.0
"""Seconds that a TLS peer has to answer a close_notify, where nobody else watches over the end of a connection."""


class Listening(Protocol):
    """Open sockets, as asyncio.Server has them."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """What listens."""
        ...

    def close(self) -> None:
        """Take no more connections; those that were taken go on."""
        ...


async def listen(
    loop: asyncio.AbstractEventLoop, door: Door, listener: Listener, tls: Callable[[], ssl.SSLContext | None]
) -> Listening:
    """Open the public port. `tls` gives the context in force, None where `listener` has no TLS. Raises OSError."""
    address = listener.address
    if isinstance(address, HostPort) and listener.tls is None and not listener.proxy_protocol:
        server = await loop.create_server(door, address.host, address.port, reuse_address=True, backlog=_BACKLOG)
        for each in server.sockets:
            keep(each)
        return server
    sockets = [_unix_socket(address)] if isinstance(address, SocketPath) else await _tcp_sockets(loop, address)
    return Entrance(loop, door, listener, sockets, tls)


class _Arrival:
    """A connection on its way to the door."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def make_room(self) -> None:
        """Be gone before it is there."""
        self._task.cancel()


class Entrance:
    """Takes connections from `sockets`, which listen already, and sees them to the door."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        door: Door,
        listener: Listener,
        sockets: Sequence[socket.socket],
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self._loop = loop
        self._door = door
        self._listener = listener
        self._tls = tls
        self._arriving: set[asyncio.Task[None]] = set()
        self._recovering: dict[socket.socket, asyncio.TimerHandle] = {}
        self._inodes = {path: os.lstat(path).st_ino for path in map(_path_of, sockets) if path}
        self.sockets = tuple(sockets)
        for each in self.sockets:
            loop.add_reader(each, self._accept, each)

    def close(self) -> None:
        """Take no more connections, let those go that are not through yet, and remove a Unix socket of ours."""
        for timer in self._recovering.values():
            timer.cancel()
        for task in self._arriving:
            task.cancel()
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()
        for path, inode in self._inodes.items():
            with suppress(FileNotFoundError):
                if os.lstat(path).st_ino == inode:
                    os.unlink(path)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # it left before it was taken
            except OSError:  # no descriptors left: asked again at once, the answer would be the same
                self._loop.remove_reader(listening)
                self._recovering[listening] = self._loop.call_later(_RECOVER, self._go_on, listening)
                return
            if not self._door.crowd.admits():  # before TLS, and before anything is made for it
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                connection.close()
                continue
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._welcome(connection))
            arrival = _Arrival(task)
            self._door.crowd.enter(arrival)
            self._arriving.add(task)
            task.add_done_callback(partial(self._arrived, arrival))

    def _arrived(self, arrival: _Arrival, task: asyncio.Task[None]) -> None:
        """It is at the door, which counts it itself, or gone."""
        self._arriving.discard(task)
        self._door.crowd.leave(arrival)

    def _go_on(self, listening: socket.socket) -> None:
        del self._recovering[listening]
        self._loop.add_reader(listening, self._accept, listening)

    async def _welcome(self, connection: socket.socket) -> None:
        """See one connection to the door, within `handshakeTimeout`; or end it, and say why."""
        peer, taken = _peer_of(connection), False
        end = self._loop.time() + self._listener.handshake_timeout
        try:
            if self._listener.proxy_protocol:
                async with asyncio.timeout_at(end):
                    peer = await self._source(connection, peer)
            taken, context = True, self._tls()
            await self._introduce(connection, peer, context, end)
        except BadProxyHeader as error:
            self._door.turned_away(peer, HTTPStatus.BAD_REQUEST, str(error))
        except ssl.SSLError as error:
            self._door.turned_away(peer, HTTPStatus.BAD_REQUEST, f"no TLS: {error.reason or 'unreadable'}")
        except OSError:  # TimeoutError among them; who leaves early is nobody's business
            if self._loop.time() >= end:
                self._door.turned_away(peer, HTTPStatus.REQUEST_TIMEOUT, CloseReason.HANDSHAKE_TIMEOUT.token)
        finally:
            if not taken:
                connection.close()

    async def _introduce(
        self, connection: socket.socket, peer: str | None, context: ssl.SSLContext | None, end: float
    ) -> None:
        """Lead one connection to the door, through TLS where there is a `context`. Raises OSError."""
        guest = self._door.introduce(peer)
        limits = (
            {}
            if context is None
            else {
                "ssl_handshake_timeout": max(end - self._loop.time(), 0.01),
                "ssl_shutdown_timeout": TLS_SHUTDOWN,
            }
        )
        try:
            await self._loop.connect_accepted_socket(lambda: guest, connection, ssl=context, **limits)
        finally:
            if guest.transport is None:  # it did not get through TLS, and nobody else will tell it so
                let_go(guest)

    async def _source(self, connection: socket.socket, peer: str | None) -> str | None:
        """Who the PROXY header says is there. Raises BadProxyHeader, TimeoutError and OSError."""
        data = b""
        while count := wanted(data):
            more = await self._loop.sock_recv(connection, count)
            if not more:
                raise ConnectionResetError
            data += more
        header = read(data)
        if not header.is_relayed:
            return peer
        return None if header.source is None else str(header.source)


def _peer_of(connection: socket.socket) -> str | None:
    """The address of the TCP peer; None: it has none, or has left."""
    try:
        name = connection.getpeername()
    except OSError:
        return None
    return str(name[0]) if isinstance(name, tuple) else None


def _path_of(listening: socket.socket) -> str | None:
    return str(listening.getsockname()) if listening.family == socket.AF_UNIX else None


async def _tcp_sockets(loop: asyncio.AbstractEventLoop, address: HostPort) -> list[socket.socket]:
    """A socket for each address that the name stands for. Raises OSError."""
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _listen(listening, where)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _unix_socket(address: SocketPath) -> socket.socket:
    """In place of one that nobody listens on any more. Raises OSError."""
    if _is_abandoned(address.path):
        os.unlink(address.path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _listen(listening, address.path)
    except OSError:
        listening.close()
        raise
    return listening


def _listen(listening: socket.socket, where: object) -> None:
    keep(listening)
    listening.bind(where)  # type: ignore[arg-type]  # whatever getaddrinfo gave, or a path
    listening.listen(_BACKLOG)
    listening.setblocking(False)


def _is_abandoned(path: str) -> bool:
    """Whether at `path` is a socket that refuses connections. One that is slow to answer has somebody behind it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
