"""How often something may happen, as policy files say it: the shape of Envoy Gateway's rate limits, with a burst."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from wsguard.policy.fields import Count, PositiveSize
from wsguard.policy.model_base import Model


class Unit(Enum):
    """The time that a rate is said for."""

    SECOND = "Second"
    MINUTE = "Minute"
    HOUR = "Hour"

    @property
    def seconds(self) -> int:
        """How long it is."""
        return {Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3600}[self]


class Rate(Model):
    """So many in each unit of time, in the long run."""

    requests: Count = Field(ge=1)
    """How many."""
    unit: Unit
    """In each Second, Minute or Hour."""
    burst: Count | None = Field(default=None, ge=1)
    """How many may come at once, after a quiet time; absent: as many as `requests`."""

    @property
    def per_second(self) -> float:
        """The rate, by the second."""
        return self.requests / self.unit.seconds

    @property
    def at_once(self) -> int:
        """The burst, whether or not it was written."""
        return self.requests if self.burst is None else self.burst


class ByteRate(Model):
    """So many bytes in each unit of time, in the long run."""

    size: PositiveSize
    """How many bytes."""
    unit: Unit
    """In each Second, Minute or Hour."""
    burst: PositiveSize | None = None
    """How many bytes may come at once, after a quiet time; absent: as many as `size`."""

    @property
    def per_second(self) -> float:
        """The rate, by the second."""
        return self.size / self.unit.seconds

    @property
    def at_once(self) -> int:
        """The burst, whether or not it was written."""
        return self.size if self.burst is None else self.burst
