"""Where every end of a session goes through: applied here first, then told to the other replicas.

Applying is remembering before cutting (`sessions/logout.py`), so an event may come twice, late, or in any order: the
result is the same. An event that cannot be read is skipped and counted, and stops nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from wsguard.events.follower import Follower
from wsguard.events.observer import Observer
from wsguard.events.outbox import OutboxFull
from wsguard.events.source import Entry
from wsguard.policy.model import OnGap
from wsguard.sessions.clock import Clock
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.events import CLOCK_ALLOWANCE, BadEvent, SessionEnd, next_second, parse, serialize
from wsguard.sessions.logout import Logout, log_out, log_out_everyone, proven, spelt_out
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
        meant = self._spelt_out(event)
        try:
            closed = self._apply(source, event, now, 0.0)
        finally:  # a connection that cannot be cut here is no reason to leave those elsewhere alive
            storing = self._enqueue(meant)
        if len(storing) < len(self.followers) * len(meant):
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

    def inquire(self, logout: Logout, event_id: str) -> bool:
        """Have the others apply the log-out of a cookie where they know it; False: nobody hears of it."""
        return bool(self._enqueue([SessionEnd(event_id, logout, self._clock.wall(), if_admitted=True)]))

    def _spelt_out(self, event: SessionEnd) -> list[SessionEnd]:
        """For the others, who may not know which values the cookie had before."""
        return [replace(event, logout=each) for each in spelt_out(event.logout, self._registry)]

    def _enqueue(self, events: Sequence[SessionEnd]) -> list[asyncio.Future[None]]:
        """Have every stream that has room for them store `events`."""
        stored = []
        for follower in self.followers:
            for event in events:
                with suppress(OutboxFull):
                    stored.append(follower.outbox.put(serialize(event)))
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
        if event.if_admitted:
            self._answer(source, event, is_live, now)
            return
        # An entry holds from when it was stored: read back, it lapses when it would have lapsed before the restart.
        denied_at = now if is_live else min(stored_at, now)
        try:
            self._apply(source, event, denied_at, max(now - event.at, 0.0) if is_live else None)
        except ExceptionGroup as error:  # the others were cut, and the next event must not wait for this one's fault
            self._observer.fault("applying a session event", error)

    def _answer(self, source: str, question: SessionEnd, is_live: bool, now: float) -> None:
        """Log out what was admitted here for the cookie of `question`, and tell the others, who are to keep it out."""
        cookie = question.logout.word
        meant = proven(cookie, self._registry, self._deny_list, now) if is_live else []
        for word in meant:
            event = replace(question, logout=replace(question.logout, word=word), if_admitted=False)
            self._enqueue(self._spelt_out(event))
            try:
                self._apply(source, event, now, max(now - event.at, 0.0))
            except ExceptionGroup as error:
                self._observer.fault("applying a session event", error)
        if not meant:
            self._observer.event(source, "ignored")
        if is_live and not self._registry.successions.knows(cookie):
            self._registry.successions.doubt(cookie, self._clock.monotonic())

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
