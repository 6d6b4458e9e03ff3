"""A backend that records every byte it is sent and answers as the test tells it to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from tests.support import wire
from tests.support.waiting import eventually
from tests.support.wire import Fields, Frame, Head


class Conversation:
    """One connection that the backend accepted.

    `received` is everything, `requests` the heads found in it, `tail` what came behind the last head;
    `ended` is None, `"fin"` or `"rst"`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.received = bytearray()
        self.requests: list[Head] = []
        self.tail = bytearray()
        self.ended: str | None = None
        self._reader = reader
        self._paused = asyncio.Event()
        self._paused.set()

    async def request(self) -> Head | None:
        """The next request head; None at the end of the stream."""
        while b"\r\n\r\n" not in self.tail:
            if not await self.receive():
                return None
        raw, _, rest = bytes(self.tail).partition(b"\r\n\r\n")
        self.tail[:] = rest
        self.requests.append(wire.read_head(raw))
        return self.requests[-1]

    async def receive(self) -> bytes:
        """The next bytes, recorded; empty at the end of the stream."""
        await self._paused.wait()
        try:
            data = await self._reader.read(65536)
        except ConnectionError:
            self.ended = "rst"
            return b""
        if not data:
            self.ended = self.ended or "fin"
        self.received += data
        self.tail += data
        return data

    def stop_reading(self) -> None:
        """Read no more, so that the guard's writes towards this backend back up."""
        self._paused.clear()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused.set()

    async def send(self, data: bytes) -> None:
        """Write `data`. Raises ConnectionError where the connection is over."""
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> Frame:
        """The next frame behind the handshake. Raises AssertionError after the usual deadline."""
        return await eventually(lambda: wire.take_frame(self.tail), what="a frame at the backend")

    async def until_ended(self) -> str:
        """Wait for the end of the stream: `"fin"` or `"rst"`."""
        return await eventually(lambda: self.ended, what="the end at the backend") or ""

    def reset(self) -> None:
        """End with an RST, as a backend that crashed does."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """End with a FIN."""
        self.writer.close()


Answer = Callable[[Conversation, Head], Awaitable[None]]


class RecordingBackend:
    """A TCP server on a port of its own. `answer` deals with upgrades, `respond` with every other request.

    `requests` are those of all connections, in the order in which they came. It answers a FIN with its own,
    unless `keeps_half_open`, and an `Expect: 100-continue` with 100, where it `says_continue`. With `tls` it speaks
    that; with a `path` it listens there, on a Unix socket.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        respond: Answer | None = None,
        tls: ssl.SSLContext | None = None,
        path: str | None = None,
    ) -> None:
        self._tls, self._path = tls, path
        self.answer: Answer = answer or accept()
        self.respond: Answer = respond or reply(200, b"ok")
        self.conversations: list[Conversation] = []
        self.requests: list[Head] = []
        self.keeps_half_open = False
        self.says_continue = True
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What the guard is given as its backend."""
        if self._path is not None:
            return f"unix://{self._path}"
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """End every connection, forget what came, and answer as at first."""
        for conversation in self.conversations:
            conversation.writer.transport.abort()
        self.conversations, self.requests = [], []
        self.answer, self.respond = accept(), reply(200, b"ok")
        self.keeps_half_open, self.says_continue = False, True

    @property
    def upgrades(self) -> list[Head]:
        """The requests that asked for an upgrade."""
        return [head for head in self.requests if head.is_upgrade]

    async def conversation(self, index: int = -1, *, requests: int = 1) -> Conversation:
        """The connection at `index` once it holds `requests` request heads."""
        await eventually(
            lambda: self.conversations and len(self.conversations[index].requests) >= requests,
            what="a request at the backend",
        )
        return self.conversations[index]

    async def __aenter__(self) -> RecordingBackend:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self.serve, self._path)
            return self
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for conversation in self.conversations:
            with suppress(AttributeError):  # asyncio's, of a transport that emptied its buffer after close()
                conversation.writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end or that of the backend."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        conversation = Conversation(reader, writer)
        self.conversations.append(conversation)
        with suppress(ConnectionError, asyncio.CancelledError):  # cancelled only as the backend closes
            while head := await conversation.request():
                self.requests.append(head)
                if head.is_upgrade:
                    await self.answer(conversation, head)
                else:
                    await self._take_body(conversation, head)
                    await self.respond(conversation, head)
        if not self.keeps_half_open:
            conversation.close()

    async def _take_body(self, conversation: Conversation, head: Head) -> None:
        length = int(head.get("content-length") or 0)
        chunked = "chunked" in (head.get("transfer-encoding") or "")
        if self.says_continue and head.get("expect"):
            await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (b"0\r\n\r\n" in conversation.tail if chunked else len(conversation.tail) >= length):
            if not await conversation.receive():
                return
        del conversation.tail[: conversation.tail.find(b"0\r\n\r\n") + 5 if chunked else length]


def switching(head: Head, subprotocol: str | None = None, extensions: str | None = None) -> bytes:
    """The right 101 for `head`."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {wire.accept(head.get('sec-websocket-key') or '')}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if extensions is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return "\r\n".join([*lines, "", ""]).encode()


def accept(
    subprotocol: str | None = None,
    extensions: str | None = None,
    *,
    then: bytes = b"",
    echo: bool = False,
    gate: asyncio.Event | None = None,
) -> Answer:
    """Answer with the right 101 and `then` in the same segment, once `gate` is open; record what follows.

    With `echo` data frames come back unmasked, a Ping is answered and a Close ends the connection as RFC
    6455 wants.
    """

    async def answer(conversation: Conversation, head: Head) -> None:
        if gate is not None:
            await gate.wait()
        await conversation.send(switching(head, subprotocol, extensions) + then)
        if not echo:
            while await conversation.receive():
                pass
            return
        while True:
            while (frame := wire.take_frame(conversation.tail)) is None:
                if not await conversation.receive():
                    return
            opcode = wire.PONG if frame.opcode == wire.PING else frame.opcode
            if opcode == wire.PONG and frame.opcode != wire.PING:
                continue
            await conversation.send(wire.frame(opcode, frame.payload, fin=frame.fin, rsv=frame.rsv, masked=False))
            if opcode == wire.CLOSE:
                conversation.close()
                return

    return answer


def raw(data: bytes, *, close: bool = True) -> Answer:
    """Answer with `data` whatever was asked, then close or stay silent."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(data)
        if close:
            conversation.close()
        while await conversation.receive():
            pass

    return answer


def reply(status: int, body: bytes = b"", fields: Fields = ()) -> Answer:
    """Answer with a plain response of `status`; HEAD gets no body."""

    async def answer(conversation: Conversation, head: Head) -> None:
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields)]
        lines += [f"Content-Length: {len(body)}", "", ""]
        sent = b"" if head.start.startswith("HEAD ") else body
        await conversation.send("\r\n".join(lines).encode("latin-1") + sent)

    return answer


def silence() -> Answer:
    """Never answer."""
    return raw(b"", close=False)
