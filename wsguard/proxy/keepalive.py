"""Pings both sides of live connections, and ends those whose peer has vanished. One ticker for all of them.

Law: a ping stands at a frame boundary or is not sent (RFC 6455 §5.4 lets one stand between fragments), and its pong is
taken out by the scanner (`FrameScanner.own_pong`), so that neither side learns of it. What decides when is
`sessions.keepalive`; here is how.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from random import Random
from typing import Protocol

from wsguard.policy.model_keepalive import KeepAlive
from wsguard.protocol.frames import Opcode, control_frame
from wsguard.proxy.half import Half
from wsguard.proxy.tcp import wire
from wsguard.sessions.clock import Clock
from wsguard.sessions.deadlines import Deadlines
from wsguard.sessions.keepalive import Act, Pulse, Sight
from wsguard.sessions.records import Side

TICK = 0.1
"""Seconds between two looks at the clock."""

HANDFUL = 100
"""Clients, and backends, that are looked at in one go: some milliseconds."""

PAUSE = 0.005
"""Seconds after which those are looked at who were left over, so that everything else has its turn between."""

LATE = 0.5
"""Seconds that a look may be late. Beyond, the guard was not running, and answers wait for it unread."""

PAYLOAD = 8
"""Random bytes in a ping: nobody's own ping, and no pong that nobody asked for, has the same ones."""

MOST_DUE = 8
"""Unanswered pings whose pongs are still taken out. A peer that repeats them for fun is passed on, as anything else."""


class Link(Protocol):
    """What is asked of a connection (`proxy.splice.Splice`)."""

    def halves(self) -> tuple[Half, Half] | None:
        """The client's and the backend's, while frames pass between them."""
        ...

    def vanished(self, half: Half, detail: str) -> None:
        """The peer of `half` is taken for dead."""
        ...


class Keepalive:
    """Holds the pulses of every live connection whose policy has either side pinged."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, rng: Random, pinged: Callable[[Side], None]
    ) -> None:
        """`pinged` is told of each ping that was sent."""
        self._loop = loop
        self._clock = clock
        self._wards = (_Ward("client", rng, pinged), _Ward("backend", rng, pinged))
        self._handle: asyncio.TimerHandle | None = None
        self._looked_at = 0.0

    def __len__(self) -> int:
        """How many sides are watched."""
        return sum(map(len, self._wards))

    def start(self) -> None:
        """Begin to tick."""
        self._looked_at = self._loop.time()
        self._handle = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Stop ticking; nobody is pinged any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def watch(self, connection_id: str, link: Link, spec: KeepAlive) -> None:
        """Keep a connection alive as `spec` says, from now on."""
        now = self._clock.monotonic()
        for ward, interval in zip(self._wards, (spec.client_ping_interval, spec.backend_ping_interval), strict=True):
            ward.watch(connection_id, link, interval, spec.timeout, now)

    def forget(self, connection_id: str) -> None:
        """The connection is over."""
        for ward in self._wards:
            ward.forget(connection_id)

    def check(self) -> bool:
        """Look at a handful of those who are due now; whether that may not have been all."""
        now = self._clock.monotonic()
        return max([ward.check(now) for ward in self._wards]) == HANDFUL

    def _tick(self) -> None:
        self._handle = self._loop.call_later(TICK, self._tick)  # first: a fault below must not end it
        before, self._looked_at = self._looked_at, self._loop.time()
        is_late = self._looked_at - before > TICK + LATE
        if is_late or self.check():  # whoever was frozen hears first what was said meanwhile, and judges then
            self._handle.cancel()
            self._handle = self._loop.call_later(PAUSE, self._tick)


class _Ward:
    """One side of all connections."""

    def __init__(self, side: Side, rng: Random, pinged: Callable[[Side], None]) -> None:
        self._side = side
        self._rng = rng
        self._pinged = pinged
        self._watched: dict[str, tuple[Link, Pulse, tuple[float, float]]] = {}
        self._due = Deadlines()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, connection_id: str, link: Link, interval: float, timeout: float, now: float) -> None:
        known = self._watched.get(connection_id)
        if known is not None and known[2] == (interval, timeout):
            return  # it has only been renewed
        self.forget(connection_id)
        if interval:
            pulse = Pulse(interval, timeout, now, self._rng.random())
            self._watched[connection_id] = (link, pulse, (interval, timeout))
            self._due.set(connection_id, pulse.next_look)

    def forget(self, connection_id: str) -> None:
        if self._watched.pop(connection_id, None) is not None:
            self._due.discard(connection_id)

    def check(self, now: float) -> int:
        """How many were looked at."""
        due = self._due.pop_due(now, HANDFUL)
        for connection_id in due:
            link, pulse, _ = self._watched[connection_id]
            halves = link.halves()
            if halves is None:
                pulse.next_look = now + 1.0  # it is ending, and that has bounds of its own
            else:
                self._look(link, pulse, *self._turned(halves), now)
            if connection_id in self._watched:
                self._due.set(connection_id, pulse.next_look)
        return len(due)

    def _look(self, link: Link, pulse: Pulse, half: Half, other: Half, now: float) -> None:
        match pulse.look(_sight(half, other), now):
            case Act.ASK:
                is_pinged = ping(half, other)
                pulse.asked(now, is_pinged=is_pinged, waits=not is_pinged and wire(half.transport).waits)
                if is_pinged:
                    self._pinged(self._side)
            case Act.JUDGE if pulse.is_dead(wire(half.transport), now):
                link.vanished(half, "has vanished: it answered no ping, and nothing else has come from it")

    def _turned(self, halves: tuple[Half, Half]) -> tuple[Half, Half]:
        """The half that is watched, and the other."""
        client, backend = halves
        return (client, backend) if self._side == "client" else (backend, client)


def ping(half: Half, other: Half) -> bool:
    """Ping the peer of `half`, if a frame may stand there now and would be on its way at once; False: it may not.

    An extension that nobody knows may give control frames another meaning (RFC 6455 §5.8): nothing is added to it.
    """
    scanner = other.scanner
    has_place = other.sink is half and other.closing is None and not scanner.left and not scanner.has_unknown_extension
    if not has_place or half.lost or half.eof_sent or half.transport.is_closing():
        return False
    if half.paused or half.transport.get_write_buffer_size():
        return False  # it would only add to what waits already
    payload = half.scanner.own_pong = half.scanner.own_pong or os.urandom(PAYLOAD)
    half.scanner.own_pongs_due = min(half.scanner.own_pongs_due + 1, MOST_DUE)
    half.transport.write(control_frame(Opcode.PING, payload, None if half.is_client else os.urandom(4)))
    return True


def _sight(half: Half, other: Half) -> Sight:
    return Sight(
        heard=half.bytes_in + half.scanner.own_pongs,
        told=other.bytes_in,
        pings=other.scanner.pings,
        is_read=not half.pauses,
    )
