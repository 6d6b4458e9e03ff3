"""For how long a client is held whose backend is lost, and lost again: one that does not last is as good as none."""

from __future__ import annotations

STEADY = 10.0
"""Seconds after which a backend has lasted: the time for which one is looked for begins anew with the next loss."""


class Endurance:
    """Of one client. Moments are seconds on the monotonic clock; `losses` are backends in a row that did not last."""

    __slots__ = ("_back_at", "_until", "losses")

    def __init__(self) -> None:
        self._back_at, self._until = float("-inf"), 0.0
        self.losses = 0

    def lost(self, now: float, give_up_after: float) -> None:
        """There is no backend any more; another one is looked for, `give_up_after` seconds from the first loss on."""
        if now - self._back_at > STEADY:
            self.losses, self._until = 0, now + give_up_after
        else:
            self.losses += 1

    def back(self, now: float) -> None:
        """There is one again."""
        self._back_at = now

    def left(self, now: float) -> float:
        """Seconds until the client is given up."""
        return max(self._until - now, 0.0)
