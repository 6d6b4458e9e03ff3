"""A half that is not waited for without end: slow consumers (`limits.slowConsumer`).

Back-pressure comes first: the other side is not read while this one does not keep up. What is kept for it meanwhile is
bounded, but it is kept; so a pause that takes too long ends the connection. A pause begins when 64 KiB wait, and ends
when a quarter of that does: a peer that reads a little now and then is no slow consumer unless that takes it longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsguard.policy.model import SlowConsumer
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import FrameScanner
from wsguard.proxy.half import Half, HalfOwner
from wsguard.proxy.tcp import bear

MOMENT = 1.0
"""Seconds that more than `bufferLimit` may wait: a burst for somebody who reads is gone sooner."""

TURN = 0.005
"""Seconds in which whatever the sockets can take is written. Where the guard was frozen, its timers come first."""


class FlowOwner(HalfOwner, Protocol):
    """Whom a half asks that keeps to limits (the splice)."""

    def exceeded(self, reason: CloseReason, detail: str) -> bool:
        """A limit of the policy's is reached; whether the connection is cut for it."""
        ...

    def throttles(self, reason: CloseReason) -> bool:
        """A peer is about to be held back; whether its policy means it."""
        ...


@dataclass(frozen=True, slots=True)
class Clockwork:
    """`now` is monotonic seconds; `loop` calls later."""

    loop: asyncio.AbstractEventLoop
    now: Callable[[], float]


class WatchedHalf(Half):
    """Is cut with its connection where it takes too long, or has the guard keep too much."""

    __slots__ = ("_clockwork", "_is_due", "_is_spared", "_owner", "_since", "_slow", "_watch")

    def __init__(
        self,
        owner: FlowOwner,
        scanner: FrameScanner,
        is_client: bool,
        slow: SlowConsumer | None,
        clockwork: Clockwork,
    ) -> None:
        super().__init__(owner, scanner, is_client)
        self._owner = owner
        self._slow = slow
        self._clockwork = clockwork
        self._since: float | None = None  # when the pause began; None: there is none
        self._watch: asyncio.TimerHandle | None = None
        self._is_due = False  # it takes too long, and has a last turn of the loop
        self._is_spared = False  # by a policy that only audits, which has been told

    def begin(self) -> None:
        """TCP is to bear what the policy does."""
        super().begin()
        if self._slow is not None and self._slow.max_pause is not None:
            bear(self.transport, self._slow.max_pause)

    def pause_writing(self) -> None:
        """This side does not keep up: the other waits, and the clock runs."""
        super().pause_writing()
        if self._slow is None or self._is_spared or not self._is_awaited():
            return
        self._since = self._clockwork.now()
        if self._watch is None:  # else it looks again when it has run out: pauses may come and go by the thousand
            self._look_in(self._slow, 0.0)

    def resume_writing(self) -> None:
        """It keeps up again."""
        self._since, self._is_due = None, False
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)

    @property
    def _name(self) -> str:
        return "client" if self.is_client else "backend"

    def _is_awaited(self) -> bool:
        """Whether frames are still on their way to this side: a connection that is closing has a bound of its own."""
        source = self.splice.other(self)
        return source is not None and source.sink is self and source.closing is None

    def _look_in(self, slow: SlowConsumer, waited: float) -> None:
        """Look again at the next moment that means something, `waited` seconds into the pause."""
        limited = MOMENT if slow.buffer_limit is not None and waited < MOMENT else None
        moments = [when for when in (limited, slow.max_pause) if when is not None]
        if moments:
            self._watch = self._clockwork.loop.call_later(min(moments) - waited, self._look)

    def _look(self) -> None:
        self._watch = None
        was_due, self._is_due = self._is_due, False
        slow = self._slow
        if self._since is None or slow is None or not self._is_awaited():
            return
        waited = self._clockwork.now() - self._since
        problem = self._problem(slow, waited)
        if problem is None:
            self._look_in(slow, waited)
        elif was_due:
            self._cut(problem)
        else:
            self._is_due = True
            self._watch = self._clockwork.loop.call_later(TURN, self._look)

    def _problem(self, slow: SlowConsumer, waited: float) -> str | None:
        kept = self.transport.get_write_buffer_size()
        if slow.max_pause is not None and waited >= slow.max_pause:
            return f"the {self._name} has not read for {slow.max_pause:g} s"
        if slow.buffer_limit is not None and kept > slow.buffer_limit and waited >= MOMENT:
            return f"{kept} bytes wait for the {self._name}, which does not read them"
        return None

    def _cut(self, detail: str) -> None:
        self._is_spared = not self._owner.exceeded(CloseReason.SLOW_CONSUMER, detail)
