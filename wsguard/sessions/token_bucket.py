"""How much of something may happen: so much at once, and so much a second in the long run."""

from __future__ import annotations

import math

_ROUNDING = 1e-6
"""What a token may lack and still be whole: ten tenths of a second at one a second are a token."""


class TokenBucket:
    """Begins full, with `burst` tokens, and gains `rate` a second up to that. `now` is monotonic seconds.

    Raises ValueError where `rate` is not more than 0 or `burst` less than 1.
    """

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        if not rate > 0 or not burst >= 1:
            raise ValueError("expected a rate of more than 0 and a burst of at least 1")
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = -math.inf

    def level(self, now: float) -> float:
        """How many tokens there are, in parts of one as well."""
        if now > self._at:  # a clock that stands or steps back adds nothing
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level

    def whole(self, now: float) -> int:
        """How many tokens could be taken."""
        return int(self.level(now) + _ROUNDING)

    def take(self, now: float, n: float = 1) -> bool:
        """Take `n` tokens; False, and none is taken, where there are fewer."""
        if self.level(now) + _ROUNDING < n:
            return False
        self._level -= n
        return True

    def wait(self, now: float, n: float = 1) -> float:
        """Seconds until there are `n` tokens; infinite where there never are so many."""
        missing = n - self.level(now)
        if missing <= _ROUNDING:
            return 0.0
        return missing / self._rate if n <= self._burst else math.inf
