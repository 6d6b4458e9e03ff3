"""Where every end of a session goes through: applied here first, then told to the other replicas.

Applying is remembering before cutting (`sessions/logout.py`), so an event may come twice, late, or in any order: the
result is the same. An event that cannot be read is skipped and counted, and stops nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from wsguard.events.follower import Follower
from wsguard.events.observer import Observer
from wsguard.events.outbox import OutboxFull
from wsguard.events.source import Entry
from wsguard.policy.model import OnGap
from wsguard.sessions.clock import Clock
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.events import CLOCK_ALLOWANCE, BadEvent, SessionEnd, next_second, parse, serialize
from wsguard.sessions.logout import Logout, log_out, log_out_everyone
from wsguard.sessions.registry import Registry

STORE_PATIENCE = 2.0
"""Seconds that who tells of an event waits for it to be stored."""

Storing = Sequence[asyncio.Future[None]]
"""One for each stream, done once it has the event."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event: how many connections it cut here, and whether every stream has it."""

    closed: int
    stored: bool


class Bus:
    """Applies events to this replica and publishes what this replica learns.

    `issuers` are those that the policies trust: where there are several, an event must say which one it means.
    """

    def __init__(
        self,
        registry: Registry,
        deny_list: DenyList,
        clock: Clock,
        observer: Observer,
        issuers: Callable[[], Collection[str]],
        on_gap: OnGap | None = None,
        patience: float = STORE_PATIENCE,
    ) -> None:
        self._registry = registry
        self._deny_list = deny_list
        self._clock = clock
        self._observer = observer
        self._issuers = issuers
        self._on_gap = on_gap
        self._patience = patience
        self.followers: Sequence[Follower] = ()

    async def publish(self, source: str, logout: Logout, event_id: str) -> Published:
        """Apply `logout` here, and have every stream store it. Raises OutboxFull, and ExceptionGroup as `log_out` does.

        Not stored within `patience` seconds, or by a stream that is away, it waits in this process until it can be.
        """
        closed, storing = self.tell(source, logout, event_id)
        return Published(closed, await self.stored(source, storing))

    def tell(self, source: str, logout: Logout, event_id: str) -> tuple[int, Storing]:
        """The first half of `publish`, which waits for nothing: how many connections were cut, and what to wait for."""
        now = self._clock.wall()
        event = SessionEnd(event_id, logout, now)
        try:
            closed = self._apply(source, event, now, 0.0)
        finally:  # a connection that cannot be cut here is no reason to leave those elsewhere alive
            storing = self._enqueue(serialize(event))
        if len(storing) < len(self.followers):
            raise OutboxFull
        return closed, storing

    async def stored(self, source: str, storing: Storing) -> bool:
        """The second half: whether every stream has it, once they have, or it took `patience` seconds."""
        late = {one for one in storing if not one.done()}
        if late and not all(follower.is_up for follower in self.followers):
            return False
        if late:
            _, late = await asyncio.wait(late, timeout=self._patience)
        if storing and not late:
            self._observer.event(source, "published")
        return not late

    def _enqueue(self, document: bytes) -> list[asyncio.Future[None]]:
        """Have every stream that has room for it store `document`."""
        stored = []
        for follower in self.followers:
            with suppress(OutboxFull):
                stored.append(follower.outbox.put(document))
        return stored

    def take(self, source: str, entry: Entry, is_live: bool) -> None:
        """Apply what a stream brought. `is_live`: it came now, and was not read back."""
        now = self._clock.wall()
        # Who writes to a stream in Redis may choose an entry's number, and with it the time of all that come after.
        stored_at = entry.stored_at if entry.stored_at <= now + CLOCK_ALLOWANCE else now
        try:
            event = parse(entry.document, entry.id, stored_at)
            if event.logout.issuer is None and event.logout.kind != "cookie" and len(self._issuers()) > 1:
                raise BadEvent("it has no issuer, and the policies trust several")
        except BadEvent as error:
            self._observer.event(source, "skipped")
            self._observer.skipped(source, entry.id, str(error))
            return
        # An entry holds from when it was stored: read back, it lapses when it would have lapsed before the restart.
        denied_at = now if is_live else min(stored_at, now)
        try:
            self._apply(source, event, denied_at, max(now - event.at, 0.0) if is_live else None)
        except ExceptionGroup as error:  # the others were cut, and the next event must not wait for this one's fault
            self._observer.fault("applying a session event", error)

    def lose(self, source: str, why: str) -> None:
        """A part of the stream was lost: do what onGap says, for what was issued up to now."""
        now = self._clock.wall()
        closed = None
        self._observer.event(source, "gap")
        if self._on_gap is OnGap.CLOSE_ALL:
            try:
                closed = log_out_everyone(next_second(now), self._registry, self._deny_list, now)
            except ExceptionGroup as error:
                self._observer.fault("closing all after a gap", error)
        self._observer.gap(source, why, closed)

    @property
    def is_ready(self) -> bool:
        """Whether no handshake must wait for a stream."""
        return not any(follower.is_needed for follower in self.followers)

    def refused(self, source: str) -> None:
        """Count what an identity provider posted in vain."""
        self._observer.event(source, "refused")

    def look_again(self) -> None:
        """Let handshakes wait for a stream, or wait no more: the state of one has changed."""
        self._deny_list.is_behind = not self.is_ready

    def _apply(self, source: str, event: SessionEnd, denied_at: float, lag: float | None) -> int:
        closed = log_out(event.logout, self._registry, self._deny_list, denied_at)
        self._observer.event(source, "applied")
        self._observer.applied(source, event, closed, lag)
        return closed
