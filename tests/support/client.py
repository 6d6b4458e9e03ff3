"""A client that says exactly the bytes it is told to, and reads what comes back."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support import wire
from tests.support.wire import Frame, Head

DEADLINE = 10.0
"""Seconds that one read may take."""

_TCP_CLOSE = 7  # a state of include/net/tcp_states.h


class RawClient:
    """A TCP connection to the guard. Every read has a deadline; what came is kept in `received`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = bytearray()
        self._frames = bytearray()

    async def send(self, data: bytes) -> None:
        """Write `data` in one piece."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Write `data` byte by byte, each in a segment of its own; stops quietly where the peer is gone."""
        with suppress(ConnectionError):
            for at in range(len(data)):
                await self.send(data[at : at + 1])
                await asyncio.sleep(0)

    async def head(self) -> Head:
        """Read a response head."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        self.received += raw
        return wire.read_head(raw)

    async def body(self, head: Head) -> bytes:
        """Read the body that `head` announces: a length, chunks, or what comes until the end."""
        if length := head.get("content-length"):
            return await asyncio.wait_for(self.reader.readexactly(int(length)), DEADLINE)
        if head.get("transfer-encoding") != "chunked":
            return await self.rest()
        body = b""
        while size := int(await asyncio.wait_for(self.reader.readline(), DEADLINE), 16):
            body += await asyncio.wait_for(self.reader.readexactly(size), DEADLINE)
            await self.reader.readexactly(2)
        while (await asyncio.wait_for(self.reader.readline(), DEADLINE)).strip():
            pass  # trailers
        return body

    async def open(self, handshake: bytes) -> Head:
        """Send `handshake` and read the 101."""
        await self.send(handshake)
        head = await self.head()
        assert head.status == 101, head
        return head

    async def frame(self, deadline: float = DEADLINE) -> Frame:
        """Read one frame. Raises EOFError where the stream ends first."""
        while True:
            if frame := wire.take_frame(self._frames):
                return frame
            data = await asyncio.wait_for(self.reader.read(65536), deadline)
            if not data:
                raise EOFError(bytes(self._frames))
            self.received += data
            self._frames += data

    async def close_frame(self, deadline: float = DEADLINE) -> tuple[int, str]:
        """Read on to the Close frame, answer it, and give its code and reason."""
        while (frame := await self.frame(deadline)).opcode != wire.CLOSE:
            pass
        with suppress(ConnectionError):
            await self.send(wire.frame(wire.CLOSE, frame.payload[:2]))
        return frame.close

    async def rest(self, deadline: float = DEADLINE) -> bytes:
        """Everything up to the end of the stream; raises ConnectionResetError where it ended with an RST."""
        data = await asyncio.wait_for(self.reader.read(-1), deadline)
        self.received += data
        return data

    def reset(self) -> None:
        """End the connection with an RST, as a crashed host or a hostile client does."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @property
    def is_reset(self) -> bool:
        """Whether the kernel has had an RST, or all of its end, though nobody has read up to there."""
        raw = self.writer.get_extra_info("socket")
        return bool(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE)

    def half_close(self) -> None:
        """Send a FIN and keep reading."""
        self.writer.write_eof()

    async def close(self) -> None:
        """Close the socket; what nobody takes from us within a second is dropped."""
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            try:
                await asyncio.wait_for(self.writer.wait_closed(), 1.0)
            except TimeoutError:
                self.writer.transport.abort()


@asynccontextmanager
async def connect(
    port: int | str,
    *,
    receive_buffer: int | None = None,
    tls: ssl.SSLContext | None = None,
    name: str = "localhost",
    before: bytes = b"",
) -> AsyncIterator[RawClient]:
    """A RawClient to 127.0.0.1:`port`, or to the Unix socket at that path, closed at the end.

    A small `receive_buffer` makes it stall early. `before` is sent first of all; with `tls` a TLS handshake with `name`
    follows.
    """
    raw = socket.socket() if isinstance(port, int) else socket.socket(socket.AF_UNIX)
    raw.setblocking(False)
    limit = 2**16
    if isinstance(port, int):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        limit = receive_buffer
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port) if isinstance(port, int) else port)
    await loop.sock_sendall(raw, before)
    opening = asyncio.open_connection(sock=raw, limit=limit, ssl=tls, server_hostname=name if tls else None)
    client = RawClient(*await opening)
    try:
        yield client
    finally:
        await client.close()


async def fetch(port: int, target: str, *fields: tuple[str, str], method: str = "GET") -> tuple[Head, bytes]:
    """The answer to one plain request to `localhost`, on a connection of its own."""
    async with connect(port) as client:
        await client.send(wire.request(method, target, [("Host", "localhost"), *fields]))
        head = await client.head()
        return head, b"" if method == "HEAD" else await client.body(head)
