"""A client that was answered before it is known: its first message is to say who it is.

Nothing it sends goes anywhere meanwhile. What is held of it is bounded: one message, and what came behind it, up to
HELD and one reading of the socket. A client that does not take the guard's Pongs is not read either.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from wsguard.protocol.first_message import Failure, FirstMessageReader, Outcome
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.half import Half, reset
from wsguard.proxy.takeover import take_over

HELD = 16_384
"""Bytes behind the first message above which the client is read no further until it was judged."""


class Waiting(asyncio.Protocol):
    """Holds the client's transport from the 101 to the verdict. `outcome` is what became of the first message.

    `task` judges the client; it is cancelled where the client leaves after its message.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, max_size: int) -> None:
        """`max_size` of the message, in bytes."""
        self._loop = loop
        self._reader = FirstMessageReader(max_size)
        self._transport: asyncio.Transport | None = None  # None: gone, or somebody else's by now
        self._timer: asyncio.TimerHandle | None = None
        self._is_erased = self._is_stalled = self._has_ended = False
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self.task: asyncio.Task[None] | None = None

    def begin(self, request: web.BaseRequest, answer: bytes, timeout: float) -> None:
        """Take the client out of aiohttp's hands, write it `answer`, and wait for `timeout` seconds from now.

        Raises ConnectionResetError where the client is gone already. Nothing is awaited in here; see `take_over`.
        """
        self._transport, early = take_over(request, self)
        self._transport.write(answer)
        late = Failure(CloseReason.FIRST_MESSAGE_TIMEOUT, f"no whole message came within {timeout:g} s")
        self._timer = self._loop.call_later(timeout, self.conclude, late)
        if early:
            self.data_received(early)

    def conclude(self, outcome: Outcome) -> None:
        """This is what became of the message, unless that is known already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def erase(self) -> None:
        """Hand the message itself over to nobody."""
        self._is_erased = True

    def hand_over(self, half: Half) -> tuple[asyncio.Transport, bytes]:
        """Give the transport to `half`; returned with it is what came in: the message, and what stands behind it.

        Raises ConnectionResetError where the client is gone.
        """
        transport = self._release()
        transport.set_protocol(half)
        half.paused = self._is_stalled
        if self._has_ended:
            self._loop.call_soon(half.eof_received)  # behind what is returned here
        return transport, self._reader.rest if self._is_erased else self._reader.taken + self._reader.rest

    def close(self, frame: bytes, grace: float) -> None:
        """Answer the client's own Close with `frame` and hang up, for `grace` seconds gently."""
        transport = self._release()
        transport.write(frame)
        transport.close()
        self._loop.call_later(grace, transport.abort)

    def abort(self) -> None:
        """Give the client up: it sees an RST."""
        transport, self._transport = self._transport, None
        if transport is not None and not transport.is_closing():
            reset(transport)

    def _release(self) -> asyncio.Transport:
        transport, self._transport = self._transport, None
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left before it was judged")
        return transport

    # What asyncio tells.

    def data_received(self, data: bytes) -> None:
        """Read on in the message; behind it, keep."""
        reader, transport = self._reader, self._transport
        pong = reader.feed(data)
        if transport is None:
            return
        if pong:
            transport.write(pong)
        if reader.outcome is not None:
            self.conclude(reader.outcome)
            if reader.excess > HELD and not transport.is_closing():
                transport.pause_reading()

    def pause_writing(self) -> None:
        """Pongs wait: read no more that might ask for further ones."""
        self._is_stalled = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client takes them again."""
        self._is_stalled = False
        if self._transport is not None and not self._transport.is_closing() and self._reader.excess <= HELD:
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """A FIN: a client that has sent its message may still read, if that is not TLS; any other transport closes."""
        self._has_ended = True
        self.conclude(Failure(CloseReason.CLIENT_LOST, "the client sent a FIN and no message"))
        return self._reader.outcome is not None and self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._transport is None:
            return
        self._transport = None
        if self.outcome.done() and self.task is not None:
            self.task.cancel()
        self.conclude(Failure(CloseReason.CLIENT_LOST, "the client left before its first message"))
