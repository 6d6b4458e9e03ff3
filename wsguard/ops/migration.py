"""What a migration is, seen from outside: where it is, what is at each backend, and what it asks of the proxy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wsguard.ops.departures import Progress


class Backends(Protocol):
    """Where connections go (wsguard.proxy). Problems are sentences."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all backends."""
        ...

    @property
    def active_name(self) -> str:
        """Where new connections and requests go."""
        ...

    def activate(self, name: str) -> None:
        """Send what is new there."""
        ...

    def handshakes(self, name: str) -> int:
        """How many are under way there."""
        ...

    def requests(self, name: str) -> int:
        """How many forwarded requests are under way there."""
        ...

    def doubt(self, name: str) -> str | None:
        """What its latest handshakes say against it."""
        ...

    def has_served(self, name: str, seconds: float) -> bool:
        """Whether it has accepted a handshake in the last `seconds`."""
        ...

    def is_unreachable(self, name: str) -> bool:
        """Whether its latest handshake got no connection."""
        ...

    async def dial_problem(self, name: str) -> str | None:
        """Connect to it, and say what is wrong."""
        ...


class MigrationState(Enum):
    """Whether connections are moved now (`migrating`), wait to be (`paused`), have been, or are left where they are."""

    IDLE = "idle"
    MIGRATING = "migrating"
    PAUSED = "paused"
    MIGRATED = "migrated"
    ABORTED = "aborted"


class MigrationError(Exception):
    """It cannot be begun, or not be aborted: a sentence for the operator. `is_usage`: there is no such backend."""

    def __init__(self, detail: str, *, is_usage: bool = False) -> None:
        super().__init__(detail)
        self.is_usage = is_usage


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What is at a backend now: live connections, and handshakes and forwarded requests under way."""

    name: str
    is_active: bool
    connections: int
    handshakes: int
    requests: int


@dataclass(frozen=True, slots=True)
class Plan:
    """From which backend to which, over how many seconds, since when (since the epoch)."""

    source: str
    target: str
    window: float
    started_at: float


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration at one moment; `plan` is None before any. `detail` says why it pauses, or why it was aborted."""

    state: MigrationState
    plan: Plan | None
    detail: str | None
    progress: Progress
    backends: tuple[BackendStatus, ...]
