"""How long a connection may live: the earliest of its bounds, on the clock that each is kept on."""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.protocol.reasons import CloseReason


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one connection; None: there is no such bound.

    `expires_at` is wall-clock time (a token's exp, clock skew included): a jump of the wall clock moves it. `ends_at`
    is monotonic (maxConnectionDuration). `idle_timeout` is seconds without a data message.
    """

    expires_at: float | None
    ends_at: float | None
    idle_timeout: float | None

    def expired(self, wall: float) -> CloseReason | None:
        """The reason to cut now, as far as the wall clock can tell."""
        return CloseReason.SESSION_EXPIRED if self.expires_at is not None and wall >= self.expires_at else None

    def overdue(self, monotonic: float, last_message_at: float) -> CloseReason | None:
        """The reason to cut now, as far as the monotonic clock can tell."""
        if self.ends_at is not None and monotonic >= self.ends_at:
            return CloseReason.MAX_DURATION
        if self.idle_timeout is not None and monotonic >= last_message_at + self.idle_timeout:
            return CloseReason.IDLE_TIMEOUT
        return None

    def hint_at(self, before: float, wall: float) -> float | None:
        """When to tell the client that the end is near: `before` seconds of it, and not in the first half of the time.

        So that who has renewed with a short-lived token is not told again at once.
        """
        return None if self.expires_at is None else max(self.expires_at - before, (wall + self.expires_at) / 2)

    def next_look(self, last_message_at: float) -> float | None:
        """When to ask `overdue` again, in monotonic time."""
        idle_at = None if self.idle_timeout is None else last_message_at + self.idle_timeout
        times = [time for time in (self.ends_at, idle_at) if time is not None]
        return min(times, default=None)
