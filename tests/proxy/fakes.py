"""A splice without a socket: transports, a loop and clocks that the test drives by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from wsguard.policy.model import PolicySpec
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.endings import Cause, Close
from wsguard.proxy.half import Half
from wsguard.proxy.halves import make_halves
from wsguard.proxy.splice import Splice
from wsguard.proxy.watched import Clockwork
from wsguard.sessions.connection import Traffic
from wsguard.sessions.records import Delivery

ANSWER = b"101"
OF_HALVES = frozenset(("_look", "_wake"))
"""The methods of halves that are called later."""


class FakeTransport:
    """Takes what is written and checks the order of calls; what happens on the wire the test says by its methods.

    Written bytes are flushed at once, or kept in `queued` while the peer is `stalled`.
    """

    def __init__(self, high_water: int = 64) -> None:
        self.half: Half
        self.written = bytearray()
        self.queued = 0
        self.high_water = high_water
        self.stalled = self.over_high_water = False
        self.reading = True
        self.eof_written = self.closing = self.gone = self.eof_seen = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.eof_written, "write() after write_eof() raises"
        if self.closing:
            return
        self.written += data
        if self.stalled:
            self.queued += len(data)
            if self.queued > self.high_water and not self.over_high_water:
                self.over_high_water = True
                self.half.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.queued

    def pause_reading(self) -> None:
        assert not self.gone
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.gone
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self.closing
        self.eof_written = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.queued = 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.half

    def set_protocol(self, protocol: Any) -> None:
        self.half = protocol

    def get_extra_info(self, name: str) -> None:
        return None

    # What the peer and the network do.

    @property
    def hears(self) -> bool:
        """Whether bytes of the peer would reach the guard now."""
        return self.reading and not self.closing and not self.eof_seen

    def arrive(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.hears:
            self.half.data_received(data)

    def fin(self) -> None:
        """The peer's FIN."""
        if self.hears:
            self.eof_seen = True
            assert self.half.eof_received()

    def unstall(self) -> None:
        """The peer reads again: the queue empties."""
        self.stalled = False
        self.queued = 0
        if self.over_high_water and not self.gone:
            self.over_high_water = False
            self.half.resume_writing()

    def lose(self, error: Exception | None) -> None:
        """The end of the transport, of its own or after `close` and `abort`."""
        if not self.gone:
            self.gone = self.closing = True
            self.queued = 0
            self.over_high_water = False
            self.half.connection_lost(error)


class FakeTimer:
    """What `call_later` returns."""

    def __init__(self, when: float, call: Callable[[], None], name: str) -> None:
        self.when, self.name = when, name
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class FakeLoop:
    """Its one service is `call_later`; the test fires."""

    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> FakeTimer:
        self.timers.append(FakeTimer(delay, lambda: call(*args), getattr(call, "__name__", "")))
        return self.timers[-1]

    def wake(self, what: str) -> None:
        """The timers that are to call the method `what` of a half run out."""
        for timer in [each for each in self.timers if each.name == what]:
            call, timer.call = timer.call, None
            if call is not None:
                call()

    @property
    def armed(self) -> FakeTimer | None:
        """The one timer of the splice that is armed."""
        live = [timer for timer in self.timers if timer.call is not None and timer.name not in OF_HALVES]
        assert len(live) <= 1
        return live[0] if live else None

    def fire(self) -> None:
        """The armed timer, if there is one, runs out."""
        timer = self.armed
        if timer is not None and timer.call is not None:
            call, timer.call = timer.call, None
            call()


class FakeClock:
    """Two clocks that the test turns."""

    def __init__(self) -> None:
        self.walls, self.monotonics = 1_000_000.0, 0.0

    def wall(self) -> float:
        return self.walls

    def monotonic(self) -> float:
        return self.monotonics


class FakeOwner:
    """Words every cut with the default code, and writes down the end; with `audits` nothing is cut."""

    def __init__(self) -> None:
        self.ends: list[tuple[Cause, Delivery, Traffic]] = []
        self.audits = False
        self.spared: list[CloseReason] = []
        self.throttled: list[CloseReason] = []

    def close_for(self, reason: CloseReason, crowd: int | None = None) -> Close | None:
        if self.audits:
            self.spared.append(reason)
            return None
        return Close(reason.code, reason.token if crowd is None else f"{reason.token} crowd={crowd}")

    def throttles(self, reason: CloseReason) -> bool:
        if self.audits:
            self.spared.append(reason)
        else:
            self.throttled.append(reason)
        return not self.audits

    def ended(self, cause: Cause, delivery: Delivery, traffic: Traffic) -> None:
        self.ends.append((cause, delivery, traffic))


class Bench:
    """An open splice between two fake transports. `now` is what its clock reads."""

    def __init__(
        self,
        spec: PolicySpec | None = None,
        *,
        begin: bool = True,
        early: tuple[bytes, bytes] = (b"", b""),
        reserved: int = 0,
    ) -> None:
        self.loop, self.owner, self.now = FakeLoop(), FakeOwner(), 0.0
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        self.splice = Splice(self.owner, loop, lambda: self.now, close_timeout=2.0)
        self.client, self.backend = FakeTransport(), FakeTransport()
        halves = make_halves(self.splice, spec or PolicySpec(), reserved, Clockwork(loop, lambda: self.now))
        for half, transport in zip(halves, (self.client, self.backend), strict=True):
            transport.half = half
            half.transport = cast("asyncio.Transport", transport)
        self.splice.open(*halves, ANSWER)
        if begin:
            self.splice.begin(*early)

    @property
    def to_client(self) -> bytes:
        """What the client was sent behind the 101."""
        return bytes(self.client.written[len(ANSWER) :])

    @property
    def to_backend(self) -> bytes:
        """What the backend was sent behind its 101."""
        return bytes(self.backend.written)

    @property
    def end(self) -> tuple[Cause, Delivery, Traffic]:
        """The one end."""
        (end,) = self.owner.ends
        return end
