"""A client's half that keeps to its policy's `limits`: `messages`, `bandwidth`, `maxMessageSize` and `messageTypes`.

What is too much is not passed on; then the connection is cut, or the client is held back: it is read no more until more
may pass, and TCP does the rest. What is kept meanwhile is at most what came in one piece. Under a policy that only
audits, a limit that is reached is told of once, and not kept to any more.
"""

from __future__ import annotations

import asyncio
from typing import cast

from wsguard.policy.model import Bandwidth, Limits, Messages, OnExceed
from wsguard.protocol.limited_scanner import LimitedScanner
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.half import Pause
from wsguard.proxy.tcp import Presence, presence
from wsguard.proxy.watched import Clockwork, FlowOwner, WatchedHalf
from wsguard.sessions.token_bucket import TokenBucket

SHORTEST = 0.1
"""Seconds that a client is held back for at least: it then comes in batches, and costs ten timers a second."""

LONGEST = 5.0
"""Seconds after which a client that is held back for longer is looked for: whether it has left."""

LEAVING = 30.0
"""Seconds for which what a client has sent before its FIN is still passed on, as slowly as it may: it may have gone."""


class LimitedHalf(WatchedHalf):
    """The client's half, before which a `LimitedScanner` looks."""

    __slots__ = (
        "_frames",
        "_granted_frames",
        "_granted_octets",
        "_has_ended",
        "_kept",
        "_leaves_at",
        "_limits",
        "_octets",
        "_throttled",
        "_timer",
    )

    scanner: LimitedScanner

    def __init__(self, owner: FlowOwner, scanner: LimitedScanner, limits: Limits, clockwork: Clockwork) -> None:
        super().__init__(owner, scanner, True, limits.slow_consumer, clockwork)
        self._limits = limits
        self._frames = _bucket(limits.messages)
        self._octets = _bucket(limits.bandwidth)
        self._granted_frames = self._granted_octets = 0  # by which the scanner began
        self._kept = b""  # came too fast, and has not been looked at
        self._has_ended = False  # behind what is kept comes a FIN
        self._leaves_at: float | None = None  # when it will be taken for gone
        self._throttled: set[CloseReason] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_behind(self) -> bool:
        """Whether anything is held back."""
        return bool(self._kept)

    def data_received(self, data: bytes) -> None:
        """As the half has it, as far as the limits go."""
        if self._kept:  # and so this comes behind it
            self._kept += data
            return
        scanner = self.scanner
        if scanner.exceeded is not None:  # called amid a call of its own: this comes before what that has yet to do
            data += scanner.take_rest()
        while self.sink is not None and self.closing is None:
            now = self._clockwork.now()
            self._settle(now)
            super().data_received(data)
            self._settle(now)
            exceeded = scanner.exceeded
            if exceeded is None:
                return
            data = scanner.take_rest()
            if self._is_held_back(exceeded):
                self._keep(data, exceeded, now)
                return
            scanner.spare(exceeded)  # the connection is cut, or its policy only audits
            if exceeded is CloseReason.BANDWIDTH and self.closing is None:
                self._octets = None  # it is kept to no more
        scanner.lift()  # at most the rest of a frame is passed on; it is only looked at for the client's Close
        self._finish(data)

    def eof_received(self) -> bool:
        """As the half has it, behind what is kept."""
        if self._kept and self.transport.can_write_eof():
            self._has_ended = True
            return True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """As the half has it; what is kept is lost with it."""
        self._forget()
        super().connection_lost(exc)

    def resume(self) -> None:
        """Read on, for whatever cause reading was paused; what is kept comes first, but not in the midst of this."""
        super().resume()
        if self._kept:
            self._wake_in(0.0)

    def _finish(self, data: bytes) -> None:
        """A cut, for whatever reason, may wait for the end of a long frame: it comes as fast as `bandwidth` allows, and
        the grace may be over first."""
        bucket, now = self._octets, self._clockwork.now()
        if bucket is None or self.closing is None:
            super().data_received(data)
            return
        passing = data[: bucket.whole(now)]
        bucket.take(now, len(passing))
        super().data_received(passing)
        late = data[len(passing) :]
        if late and self.closing is not None:
            self._keep(late, CloseReason.BANDWIDTH, now)
        elif late:
            super().data_received(late)

    # What passes without more ado, and what does not.

    def _settle(self, now: float) -> None:
        """Take what has come from the buckets, and tell the scanner how much may come now."""
        scanner, frames, octets = self.scanner, self._frames, self._octets
        if frames is not None and scanner.frames is not None:
            frames.take(now, self._granted_frames - scanner.frames)
            self._granted_frames = scanner.frames = frames.whole(now)
        if octets is not None and scanner.octets is not None:
            octets.take(now, self._granted_octets - scanner.octets)
            self._granted_octets = scanner.octets = octets.whole(now)

    def _is_held_back(self, limit: CloseReason) -> bool:
        """Whether the client is to wait, now that it has reached `limit`; else its connection is cut, or spared."""
        if not self._throttles(limit):
            self._owner.exceeded(limit, self._detail(limit))
            return False
        if limit not in self._throttled and self._owner.throttles(limit):
            self._throttled.add(limit)
        return limit in self._throttled

    def _throttles(self, limit: CloseReason) -> bool:
        limits = self._limits
        part = {CloseReason.MESSAGE_RATE: limits.messages, CloseReason.BANDWIDTH: limits.bandwidth}.get(limit)
        return part is not None and part.on_exceed is OnExceed.THROTTLE

    def _detail(self, limit: CloseReason) -> str:
        match limit:
            case CloseReason.MESSAGE_TOO_BIG:
                return f"the client sent a message of more than {self._limits.max_message_size} bytes"
            case CloseReason.MESSAGE_TYPE_DENIED:
                return "the client sent a message of a type that limits.messageTypes does not list"
            case CloseReason.BANDWIDTH:
                return "the client sent more bytes than limits.bandwidth allows"
        return "the client sent more frames than limits.messages allows"

    # What waits.

    def _keep(self, data: bytes, limit: CloseReason, now: float) -> None:
        self._kept = data
        self.pause(Pause.THROTTLE)
        bucket = self._frames if limit is CloseReason.MESSAGE_RATE else self._octets
        assert bucket is not None  # else there was no such limit
        self._wake_in(min(max(SHORTEST, bucket.wait(now)), LONGEST))

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clockwork.loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        """Let what was kept come again, as if only now: to whoever stands before this half by then."""
        self._timer = None
        if self.lost or self.transport.is_closing():
            return
        if self._has_left():
            self.abort()
            return
        if self.sink is not None and self.sink.paused and self.closing is None:
            self._wake_in(SHORTEST)  # the backend has enough to do
            return
        kept, self._kept = self._kept, b""
        self._in_front().data_received(kept)
        if self._kept:
            return
        self.unpause(Pause.THROTTLE)
        if self._has_ended:
            self._has_ended = False
            self._in_front().eof_received()

    def _has_left(self) -> bool:
        """Whether nobody is there any more: what it left behind could else be passed on for hours, in its place."""
        now, known = self._clockwork.now(), presence(self.transport)
        if known is Presence.LEAVING and self._leaves_at is None:
            self._leaves_at = now + LEAVING
        return known is Presence.GONE or (self._leaves_at is not None and now >= self._leaves_at)

    def _in_front(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", self.transport.get_protocol())

    def _forget(self) -> None:
        self._kept = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bucket(part: Messages | Bandwidth | None) -> TokenBucket | None:
    """Where a client is held back, it takes in what comes in that time; else a small burst would lower the rate."""
    if part is None:
        return None
    rate, burst = part.per_connection.per_second, float(part.per_connection.at_once)
    if part.on_exceed is OnExceed.THROTTLE:
        burst = max(burst, rate * 1.5 * SHORTEST)  # timers are late at times
    return TokenBucket(rate, burst)
