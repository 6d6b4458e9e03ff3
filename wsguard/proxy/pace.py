"""How slow the parties to a forwarded request may be.

Law: whoever is waited for has a bound, and only while it is waited for: an upload is as long as the backend is slow, an
answer as long as the client is, and a stream of events with nothing to say is slow to nobody. What counts is bytes and
not signs of life, or one byte a minute would hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter

from wsguard.proxy.half import reset

ENOUGH = 8192
"""Bytes that a client has to send or take in each `listener.bodyTimeout`."""

AWAY = 0.25
"""Seconds: where a timer is later than that it was the guard that was away, and nobody is judged for it."""

_LOOKS = 4  # at a client that does not take its answer, in each such time
_SHORTEST, _LONGEST = 0.001, 0.25  # seconds between two looks at what is left of an answer

_T = TypeVar("_T")


class SlowClient(Exception):
    """The body of a request comes too slowly."""


class Pace:
    """Of one request; both are seconds, 0: no bound."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body_timeout: float, response_timeout: float) -> None:
        self._loop = loop
        self._body_timeout = body_timeout or None
        self._response_timeout = response_timeout or None
        self._left = self._body_timeout
        self._counted = 0
        self._limit: asyncio.Timeout | None = None
        self.is_client_slow = False

    async def answer(self, asking: Awaitable[_T]) -> _T:
        """What `asking` comes to. Raises TimeoutError where the backend takes too long to begin with it."""
        async with asyncio.timeout(self._response_timeout) as limit:
            self._limit = limit
            try:
                return await asking
            finally:
                self._limit = None  # the body may go on: it is no longer waited for

    async def read(self, body: StreamReader) -> bytes:
        """The next bytes of the request's body; none at its end. Raises SlowClient."""
        self._wait_for_backend(None)
        while True:
            began = self._loop.time()
            try:
                async with asyncio.timeout(self._left):
                    data = await body.readany()
                    break
            except TimeoutError:
                late = self._loop.time() - began - (self._left or 0.0)
                if late < AWAY:
                    self.is_client_slow = True
                    raise SlowClient from None
                self._counted, self._left = 0, self._body_timeout
        self._count(len(data), self._loop.time() - began)
        self._wait_for_backend(self._response_timeout)
        return data

    def watch(self, transport: asyncio.Transport, writer: AbstractStreamWriter) -> Watch:
        """Whether the client takes what is written for it from now on."""
        return Watch(self._loop, transport, writer, self._body_timeout)

    def _count(self, size: int, seconds: float) -> None:
        self._counted += size
        if self._counted >= ENOUGH:
            self._counted, self._left = 0, self._body_timeout
        elif self._left is not None:
            self._left = max(self._left - seconds, 0.001)

    def _wait_for_backend(self, seconds: float | None) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None if seconds is None else self._loop.time() + seconds)


async def deliver(request: web.BaseRequest, response: web.StreamResponse, body_timeout: float) -> None:
    """Send an answer of the guard's own, which must be taken like any other; not one that was sent already."""
    transport = request.transport
    if response.prepared or transport is None:
        return
    watch = Watch(asyncio.get_running_loop(), transport, request.writer, body_timeout or None)
    try:
        await response.prepare(request)
        await response.write_eof()
        await flushed(transport)
    except ConnectionError:  # nobody is there to take it
        pass
    finally:
        watch.end()


async def flushed(transport: asyncio.Transport) -> None:
    """Wait until the peer has taken everything: a transport that is closed with a rest would keep it for ever."""
    pause = _SHORTEST
    while transport.get_write_buffer_size() and not transport.is_closing():
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST)


class Watch:
    """Resets a client that does not take its answer. `patience` is seconds; None: for ever. End it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        patience: float | None,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._writer = writer
        self._patience = patience
        self._since = self._due = loop.time()
        self._taken = 0
        self._timer: asyncio.TimerHandle | None = None
        self._look_later()

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._patience is not None:
            self._due = self._loop.time() + self._patience / _LOOKS
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        waiting, now = self._transport.get_write_buffer_size(), self._loop.time()
        taken = self._writer.output_size - waiting
        if now - self._due >= AWAY:
            self._since += now - self._due
        if not waiting or taken >= self._taken + ENOUGH:
            self._since, self._taken = now, taken
        elif self._patience is not None and now - self._since >= self._patience:
            reset(self._transport)
            return
        self._look_later()
