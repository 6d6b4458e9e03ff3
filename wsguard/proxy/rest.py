"""Bringing a connection to rest: both of its directions at the end of a message, and not a byte further.

Law: every message that passes is whole. The direction that is there first is held back until the other is there too; no
longer than PATIENCE, for whoever ends a connection has no more time than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsguard.proxy.half import Half, Pause
from wsguard.proxy.interjection import Stand, is_over, pass_on

PATIENCE = 2.0
"""Seconds that a message under way has to end."""


class Rest:
    """Calls `then` once neither of two halves is amid a message, or when it has taken too long."""

    def __init__(self, halves: tuple[Half, Half], loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
        self._then = then
        self._stops = tuple(Stop(half, self._look) for half in halves)
        self._timer = loop.call_later(PATIENCE, then)

    def release(self) -> None:
        """Let both halves go on as they would have."""
        self._timer.cancel()
        stops, self._stops = self._stops, ()  # each holds this one
        for stop in stops:
            stop.release()

    def _look(self) -> None:
        if self._stops and all(stop.has_stopped for stop in self._stops):
            self._then()


class Stop(Stand):
    """Passes on the message under way, and holds back what follows."""

    def __init__(self, half: Half, tell: Callable[[], None]) -> None:
        super().__init__(half)
        self._tell = tell
        self._held = b""
        self._has_ended = False  # behind what is held comes a FIN
        self.has_stopped = False
        half.transport.set_protocol(self)
        if _is_at_rest(half):
            self._stop()

    def data_received(self, data: bytes) -> None:
        """Pass on no more than the rest of the message."""
        if not self.has_stopped:
            data = pass_on(self._half, data, _is_at_rest)
            if is_over(self._half):  # and so the splice has ended the rest already
                self._half.data_received(data)
                return
        self._held += data
        if not self.has_stopped and _is_at_rest(self._half):
            self._stop()
            self._tell()

    def eof_received(self) -> bool:
        """As the half has it, behind what is held back."""
        self._has_ended = self.has_stopped
        return self.has_stopped or super().eof_received()

    def release(self) -> None:
        """Step aside, and give the half what was held back."""
        half, held, self._held = self._half, self._held, b""
        if half.lost:
            return
        half.transport.set_protocol(half)
        if held:
            half.data_received(held)
        if self._has_ended:
            self._has_ended = False
            half.eof_received()
        if self.has_stopped:
            half.unpause(Pause.REST)

    def _stop(self) -> None:
        self.has_stopped = True
        self._half.pause(Pause.REST)


def _is_at_rest(half: Half) -> bool:
    return half.scanner.is_at_rest
