"""Time is an argument: what reads a clock is given one."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The two clocks of a process, in seconds."""

    def wall(self) -> float:
        """Seconds since the epoch; may jump. What tokens are compared with."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never jumps. What durations are measured with."""
        ...
