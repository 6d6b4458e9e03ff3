"""Says a client's greeting again to a new backend, and waits for its answer, which the client has had already."""

from __future__ import annotations

import asyncio

from wsguard.protocol.first_message import Closed, FirstMessageReader, Message, Outcome
from wsguard.protocol.reasons import RESTARTS
from wsguard.protocol.replay import MOST_BYTES, is_welcome
from wsguard.protocol.scanner import Sender

_LEFT = "the backend left before it answered a connection_init"


class Unwelcome(Exception):
    """The backend says no; the sentence quotes nothing of it."""


class Greeter(asyncio.Protocol):
    """Stands before the backend's half until it has answered. `answered` is what came: the answer, and what follows."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reader = FirstMessageReader(MOST_BYTES, Sender.BACKEND)
        self.answered: asyncio.Future[tuple[bytes, bytes]] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        """Read on; what has nothing to do with the greeting is passed over."""
        self._reader.feed(data)
        while not self.answered.done() and (outcome := self._reader.outcome) is not None:
            welcome = self._judge(outcome)
            if welcome is False:
                self._fail(Unwelcome("the backend does not answer a connection_init with a connection_ack"))
            elif welcome:
                self._transport.pause_reading()
                self.answered.set_result((self._reader.taken, self._reader.rest))
            else:
                rest, self._reader = self._reader.rest, FirstMessageReader(MOST_BYTES, Sender.BACKEND)
                self._reader.feed(rest)

    def eof_received(self) -> bool:
        """It may be restarting still."""
        self._fail(ConnectionResetError(_LEFT))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The same."""
        self._fail(ConnectionResetError(_LEFT))

    def _judge(self, outcome: Outcome) -> bool | None:
        if isinstance(outcome, Message):
            return is_welcome(outcome.text)
        if isinstance(outcome, Closed) and int.from_bytes(outcome.reply[2:4], "big") in RESTARTS:
            self._fail(ConnectionResetError(_LEFT))
        elif isinstance(outcome, Closed):
            self._fail(Unwelcome("the backend closed in place of answering a connection_init"))
        return False

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


async def greet(
    loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, early: bytes, words: bytes, timeout: float
) -> tuple[bytes, bytes]:
    """Say `words`; returns the answer and what came behind it, with the transport paused again.

    `early` came behind the backend's 101. Raises Unwelcome, OSError and TimeoutError; on those, and on cancellation,
    the transport is aborted.
    """
    greeter = Greeter(loop, transport)
    transport.set_protocol(greeter)
    transport.write(words)
    transport.resume_reading()
    if early:
        greeter.data_received(early)
    try:
        async with asyncio.timeout(timeout):
            return await greeter.answered
    except BaseException:
        transport.abort()
        raise
    finally:
        del greeter  # it has the exception, whose traceback has this frame: together they would wait for the collector
