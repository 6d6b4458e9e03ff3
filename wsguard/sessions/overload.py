"""Whether the process has too much on its hands, by limits and by what was measured: pure, told four times a second.

What is open goes on whatever happens; a cause of overload keeps out what is new. A cause ends a little below where it
began, so that a guard at its limit does not change its mind with every sample.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

SAMPLES = 4
"""Samples of the event loop's lag that must agree: one long callback is no overload."""

_ENOUGH = 0.95  # of a limit: below it that cause is over


class Cause(Enum):
    """Why new work is turned away, as the log and the metrics say it."""

    CONNECTIONS = "connections"
    DESCRIPTORS = "descriptors"
    MEMORY = "memory"
    LOOP_LAG = "loop-lag"


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` on the public port, `memory` in bytes, `loop_lag` in seconds; None: any."""

    connections: int | None = None
    memory: int | None = None
    loop_lag: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """`connections` are those on the public port, `memory` is resident bytes, `lag` is seconds."""

    connections: int
    memory: int
    lag: float
    has_descriptors: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """An overload began, or ended; `refused` is how many were turned away for it since the last end."""

    cause: Cause
    is_over: bool
    refused: int = 0


class Overload:
    """What holds now. `is_shedding`: new requests are turned away, whoever makes them."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.is_shedding = False
        self.causes: tuple[Cause, ...] = ()
        self._told = dict.fromkeys(Cause, 0)
        self.refused = dict.fromkeys(Cause, 0)
        self._lags: deque[float] = deque(maxlen=SAMPLES)

    def refuse(self) -> None:
        """A request was turned away while `is_shedding`."""
        self.refused[next(cause for cause in self.causes if cause is not Cause.CONNECTIONS)] += 1

    def refuse_connection(self) -> None:
        """A connection was turned away, because there were as many as there may be."""
        self.refused[Cause.CONNECTIONS] += 1

    def measure(self, sample: Sample) -> tuple[Change, ...]:
        """Take a sample; what it changes."""
        self._lags.append(sample.lag)
        now = {
            Cause.CONNECTIONS: self._has_reached(Cause.CONNECTIONS, sample.connections, self.limits.connections),
            Cause.DESCRIPTORS: not sample.has_descriptors,
            Cause.MEMORY: self._has_reached(Cause.MEMORY, sample.memory, self.limits.memory),
            Cause.LOOP_LAG: self._is_slow(),
        }
        changes = tuple(self._change(cause, is_so) for cause, is_so in now.items() if is_so != (cause in self.causes))
        self.causes = tuple(cause for cause, is_so in now.items() if is_so)
        self.is_shedding = any(cause is not Cause.CONNECTIONS for cause in self.causes)
        return changes

    def _has_reached(self, cause: Cause, value: int, limit: int | None) -> bool:
        return limit is not None and value >= limit * (_ENOUGH if cause in self.causes else 1.0)

    def _is_slow(self) -> bool:
        limit = self.limits.loop_lag
        if limit is None:
            return False
        if Cause.LOOP_LAG in self.causes:
            return max(self._lags) > limit
        return len(self._lags) == SAMPLES and min(self._lags) > limit

    def _change(self, cause: Cause, is_so: bool) -> Change:
        if is_so:
            return Change(cause, is_over=False)
        told, self._told[cause] = self._told[cause], self.refused[cause]
        return Change(cause, is_over=True, refused=self.refused[cause] - told)
