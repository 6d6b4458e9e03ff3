"""What the bus asks of a stream between replicas, whatever engine keeps it: tests/contracts/ holds each to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

POLL = 1.0
"""Seconds that a read may wait for something new; between two reads the engine is looked at for gaps."""

PATIENCE = 3.0
"""Seconds after which an engine that does not answer is away: a link may fall silent without an end.

Since it is asked again every POLL, silence is noticed within the sum of both, and FAREWELL.
"""

CONNECT = 2.0
"""Seconds that a connection may take until the first answer, TLS and login included; then it is tried anew."""

FAREWELL = 0.5
"""Seconds that the end of a connection may take, which may well have nobody at its other side."""

BATCH = 500
"""Entries of one read."""


class StreamAway(Exception):
    """The engine does not answer, or says no. The message says why, for the operator, without a secret."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is stored. `id` is the engine's, `stored_at` seconds since the epoch by the engine's clock."""

    id: str
    document: bytes = field(repr=False)
    stored_at: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read brought.

    `gap` says how a part of the stream was lost, where one was: entries that nobody can read any more.
    `is_latest`: at the time of the read there was nothing behind these entries.
    """

    entries: tuple[Entry, ...]
    is_latest: bool
    gap: str | None = None


class Stream(Protocol):
    """An append-only stream, and this replica's cursor in it. Every replica reads every entry."""

    name: str
    """The type of the source, as in policy files."""

    async def read(self) -> Batch:
        """The entries behind the cursor, which moves on. Waits up to POLL for the first one. Raises StreamAway.

        After StreamAway the next read connects anew and goes on at the same place.
        """
        ...

    async def append(self, document: bytes) -> None:
        """Store `document`; once this returns, it is stored. Raises StreamAway: then it may be stored or not."""
        ...

    async def close(self) -> None:
        """Leave. Nothing is called after it."""
        ...
