"""Asks again, every `session.revalidateEvery`, about what live connections were admitted for.

One question a credential, however many connections show it; the questions are spread over the interval. A no cuts every
connection of the credential with `session-invalid`. While no answer comes they are kept for `session.revalidateGrace`,
then cut with `identity-unavailable`. What is needed to ask is held here and nowhere else, and goes
with the last connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from weakref import WeakValueDictionary

from wsguard.identity.exchange import TIMEOUT
from wsguard.identity.inquest import CannotTell, Inquest, Inquests
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import MAX_CONCURRENT
from wsguard.policy.evidence import Evidence
from wsguard.policy.forward_auth import PROVIDER, asked_anew
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Link
from wsguard.sessions.deadlines import Deadlines

TICK = 0.25
"""Seconds between two looks at the clock."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One credential and the connections that live by it. Times are monotonic seconds.

    `doubted_at` is since when an answer is wanting, which `grace` bounds; None: it is not.
    """

    id: str
    what: Inquest
    slots: asyncio.Semaphore = field(repr=False)
    every: float
    grace: float
    doubted_at: float | None = None
    links: dict[str, Link] = field(default_factory=dict)
    is_asking: bool = False


class Revalidator:
    """Watches the credentials of live connections. `inquiry` gives whom to ask now; it changes with a reload."""

    def __init__(
        self,
        inquiry: Callable[[], Inquiry],
        clock: Clock,
        rng: Random,
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._inquests = Inquests(inquiry)
        self._on_fault = on_fault
        self._clock = clock
        self._rng = rng
        self._watches: dict[tuple[str, ...], _Watch] = {}
        self._by_id: dict[str, _Watch] = {}
        self._by_connection: dict[str, dict[str, _Watch]] = {}  # each by where its credential was found
        self._due, self._last = Deadlines(), Deadlines()
        # One for each service, kept by its watches: one that hangs holds up no other.
        self._slots: WeakValueDictionary[tuple[str, ...], asyncio.Semaphore] = WeakValueDictionary()
        self._asking: set[asyncio.Task[None]] = set()
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def enter(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        """Watch what a connection was admitted for, where its policy wants that."""
        every = evidence.policy.spec.session.revalidate_every
        if every is None:
            return
        watches = {place: self._join(what, evidence, every) for place, what in self._inquests.about(evidence)}
        for watch in watches.values():
            watch.links[connection_id] = link
        if watches:
            self._by_connection[connection_id] = watches

    def renew(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        """Watch what newer `evidence` holds in the place of what the connection lived by before."""
        every = evidence.policy.spec.session.revalidate_every
        if every is None:
            return
        watches = self._by_connection.setdefault(connection_id, {})
        before = watches[PROVIDER].what.question if PROVIDER in watches else None
        now = evidence.question
        evidence = replace(
            evidence, question=asked_anew(before, now) if before is not None and now is not None else None
        )
        inquests = dict(self._inquests.about(evidence))
        for place in {*inquests, *(fact.credential.source for fact in evidence.facts)}:
            old = watches.pop(place, None)
            if place in inquests:  # else a token that can be read has taken the place of one that was asked about
                watches[place] = self._join(inquests[place], evidence, every)
                watches[place].links[connection_id] = link
            if old is not None and old is not watches.get(place):
                self._part(connection_id, old)

    def leave(self, connection_id: str) -> None:
        """The connection is over; what only it was admitted for is forgotten."""
        for watch in self._by_connection.pop(connection_id, {}).values():
            self._part(connection_id, watch)

    def _part(self, connection_id: str, watch: _Watch) -> None:
        watch.links.pop(connection_id, None)
        if not watch.links:
            self._forget(watch)

    async def run(self) -> None:
        """Ask and cut, until cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK)
                try:
                    self.check()
                except Exception as error:  # whoever is watched still has to be asked about
                    self._on_fault("asking again", error)
        finally:
            for task in self._asking:
                task.cancel()

    def check(self) -> None:
        """Cut where no answer came for too long; begin to ask whatever is due."""
        now = self._clock.monotonic()
        for watch_id in self._last.pop_due(now):
            if watch := self._by_id.get(watch_id):  # one that ends may take others along
                self._give_up(watch)
        for watch_id in self._due.pop_due(now):
            watch = self._by_id.get(watch_id)
            if watch is not None and not watch.is_asking:
                watch.is_asking = True
                self._begin_to_doubt(watch, now)
                task = asyncio.create_task(self._ask(watch))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    def _join(self, what: Inquest, evidence: Evidence, every: float) -> _Watch:
        watch = self._watches.get(what.key)
        if watch is None:
            self._numbers += 1
            grace = evidence.policy.spec.session.revalidate_grace
            # Whoever came at once, after a restart, is not asked about at once ever after.
            slots = self._slots.setdefault(what.service, asyncio.Semaphore(_most_at_once(evidence, what)))
            watch = _Watch(str(self._numbers), what, slots, every, every if grace is None else grace)
            self._watches[what.key] = self._by_id[watch.id] = watch
            self._due.set(watch.id, self._clock.monotonic() + every * (1.0 - self._rng.random()))
        return watch

    def _forget(self, watch: _Watch) -> None:
        if self._watches.get(watch.what.key) is watch:
            del self._watches[watch.what.key]
        if self._by_id.pop(watch.id, None) is not None:
            self._due.discard(watch.id)
            self._last.discard(watch.id)

    async def _ask(self, watch: _Watch) -> None:
        async with watch.slots:
            shown = dict(watch.links)  # who comes while the question is under way was judged by a later answer
            if not shown:
                return
            try:
                objection = await watch.what.put()
            except Exception as error:  # a bug cannot tell either
                if not isinstance(error, CannotTell):
                    self._on_fault("asking again", error)
                self._doubt(watch, str(error))
                return
            finally:
                watch.is_asking = False
        if objection is None:
            self._vouch(watch)
        else:
            self._end(watch, shown, CloseReason.SESSION_INVALID, objection)

    def _begin_to_doubt(self, watch: _Watch, now: float) -> None:
        """From the question on, not from when it was due: a guard that stood still cuts nobody for it."""
        if watch.doubted_at is None:
            watch.doubted_at = now
            self._last.set(watch.id, now + watch.grace + TIMEOUT)

    def _vouch(self, watch: _Watch) -> None:
        if watch.id in self._by_id:
            watch.doubted_at = None
            self._last.discard(watch.id)
            self._due.set(watch.id, self._clock.monotonic() + watch.every * (1.0 - 0.1 * self._rng.random()))

    def _doubt(self, watch: _Watch, why: str) -> None:
        """No answer: keep the connections for the grace, and try again within it."""
        if watch.id not in self._by_id or watch.doubted_at is None:
            return
        now, last = self._clock.monotonic(), watch.doubted_at + watch.grace
        if now >= last:
            self._give_up(watch, why)
            return
        pause = min(watch.every, max(1.0, watch.grace / 8)) * (0.5 + self._rng.random())
        self._due.set(watch.id, min(now + pause, last))

    def _give_up(self, watch: _Watch, why: str = "no answer") -> None:
        detail = f"whether the session lives could not be learned for {watch.grace:g} s: {why}"
        self._end(watch, dict(watch.links), CloseReason.IDENTITY_UNAVAILABLE, detail)

    def _end(self, watch: _Watch, links: dict[str, Link], reason: CloseReason, detail: str) -> None:
        """Cut `links`; whoever is left is asked about again, and who was renewed since lives by something else."""
        for connection_id, link in links.items():
            if watch.links.pop(connection_id, None) is None:
                continue
            try:
                link.cut(reason, detail)
            except Exception as error:  # the others are to be cut all the same
                self._on_fault("cutting a connection", error)
        if watch.links:
            self._vouch(watch)
        else:
            self._forget(watch)


def _most_at_once(evidence: Evidence, what: Inquest) -> int:
    """Half of what a service is asked in all: the other half is for handshakes."""
    spec = evidence.policy.spec.forward_auth
    return max((spec.max_concurrent if spec is not None and what.question is not None else MAX_CONCURRENT) // 2, 1)
