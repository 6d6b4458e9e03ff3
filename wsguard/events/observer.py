"""What the events tell the operator: a Protocol, whose real thing is in wsguard.ops."""

from __future__ import annotations

from typing import Literal, Protocol

from wsguard.sessions.events import SessionEnd

Said = Literal["said", "heard", "ignored"]
Result = Literal["applied", "skipped", "gap", "published", "refused", "asked", "ignored"]


class Observer(Protocol):
    """Who is told (wsguard.ops)."""

    def event(self, source: str, result: Result) -> None:
        """Count an event of `source`."""
        ...

    def applied(self, source: str, event: SessionEnd, closed: int, lag: float | None) -> None:
        """An event took effect `lag` seconds after it happened (None: it was read back, lag says nothing)."""
        ...

    def detected(self, policy: str, cookie: str, why: str) -> None:
        """An answer of the application says, to `policy`, that the session of the cookie with this digest is over."""
        ...

    def skipped(self, source: str, entry: str, why: str) -> None:
        """An entry is no event that can be applied."""
        ...

    def gap(self, source: str, why: str, closed: int | None) -> None:
        """A part of a stream was lost; `closed` connections were cut for it (None: onGap is Continue)."""
        ...

    def source_up(self, source: str, is_up: bool, why: str) -> None:
        """A stream came back, or went away and why."""
        ...

    def waiting(self, source: str, count: int) -> None:
        """So many events wait to be stored now."""
        ...

    def lost(self, source: str, count: int) -> None:
        """So many events were never stored."""
        ...

    def counts_shared(self, source: str, is_up: bool, why: str) -> None:
        """Counts of connections are shared with the other replicas, or no more and why."""
        ...

    def counts_told(self, source: str, result: Said) -> None:
        """Count a message about counts of connections."""
        ...

    def counts_ignored(self, source: str, why: str) -> None:
        """Such a message was not understood, or there was no room for it."""
        ...

    def counting(self, source: str, replicas: int, left_out: int) -> None:
        """So many other replicas are heard now, and so many of the own counts are too many to be told."""
        ...

    def fault(self, where: str, error: BaseException) -> None:
        """A bug, or something outside that nobody expected."""
        ...
