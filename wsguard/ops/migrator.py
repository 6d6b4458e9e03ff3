"""The migration: from one backend to another, connection by connection, and back again.

Law: nobody is closed towards a backend that cannot be dialled, and nobody new is sent there while there is another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from wsguard.ops.departures import Departures, Progress
from wsguard.ops.drainer import Drainer
from wsguard.ops.log import Log, describe
from wsguard.ops.lookout import Lookout
from wsguard.ops.migration import Backends, BackendStatus, MigrationError, MigrationState, MigrationStatus, Plan
from wsguard.policy.model import Shutdown
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.clock import Clock
from wsguard.sessions.registry import Registry

_TICK = 0.1  # seconds
_UNDER_WAY = (MigrationState.MIGRATING, MigrationState.PAUSED)


@dataclass(slots=True)
class _Course:
    """One migration. Moments are on the monotonic clock."""

    plan: Plan
    departures: Departures
    lookout: Lookout
    moved_for: float = 0.0  # seconds, as far as they are over
    moving_since: float | None = None
    held_at: float | None = None  # since when it pauses
    outcome: Progress | None = None  # how far it came


class Migrator:
    """Sends what is new to another backend, and those who are elsewhere after it with `migrating`, over a window.

    `shutdown` gives the settings that are in force now. Close it at the end.
    """

    def __init__(
        self,
        registry: Registry,
        backends: Backends,
        drainer: Drainer,
        clock: Clock,
        rng: Random,
        log: Log,
        shutdown: Callable[[], Shutdown],
    ) -> None:
        self._registry = registry
        self._backends = backends
        self._drainer = drainer
        self._clock = clock
        self._rng = rng
        self._log = log
        self._shutdown = shutdown
        self._state = MigrationState.IDLE
        self._detail: str | None = None
        self._course: _Course | None = None
        self._moving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_under_way(self) -> bool:
        """From the trigger to the end, pauses included."""
        return self._state in _UNDER_WAY

    @property
    def status(self) -> MigrationStatus:
        """The migration as it stands."""
        course = self._course
        return MigrationStatus(
            state=self._state,
            plan=None if course is None else course.plan,
            detail=self._detail,
            progress=Progress() if course is None else course.outcome or self._progress(course),
            backends=tuple(self._at(name) for name in self._backends.names),
        )

    async def start(self, target: str, window: float) -> None:
        """Begin to move everyone to `target` over `window` seconds. Raises MigrationError.

        While one to the same target is under way, the remaining closes are spread anew; one to another ends it.
        """
        async with self._one_at_a_time:
            names = self._backends.names
            if target not in names:
                raise MigrationError(f"there is no such backend; known here: {', '.join(names)}", is_usage=True)
            if self._drainer.is_draining:
                raise MigrationError("the guard is draining: it sends everyone away already")
            if problem := await self._backends.dial_problem(target):
                raise MigrationError(problem)
            self._stop()
            self._begin(target, window)

    async def abort(self) -> None:
        """Move nobody any more, and send what is new to where it went before. Raises MigrationError."""
        async with self._one_at_a_time:
            course = self._course
            if course is None or not self.is_under_way:
                raise MigrationError("no migration is under way")
            if problem := await self._backends.dial_problem(course.plan.source):
                raise MigrationError(f"there is no way back: {problem}")
            if self.is_under_way:  # else it has ended meanwhile
                self._stop()
                self._go_back(course, "an operator has asked for it")

    async def close(self) -> None:
        """Move nobody any more; the process ends."""
        tasks = [task for task in (self._watching, self._moving) if task is not None]
        self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, target: str, window: float) -> None:
        course = self._course
        if course is None or not self.is_under_way or course.plan.target != target:
            if course is not None:
                course.departures.call_off()
            course = self._new_course(target, window)
        self._end_pause(course)
        course.plan = replace(course.plan, window=window)
        course.lookout.dialled()
        course.departures.spread(window, self._shutdown().max_closes_per_second)
        self._course = course
        self._backends.activate(target)
        self._log.audit(
            "migration_started",
            source=course.plan.source,
            target=target,
            window=window,
            connections=course.departures.remaining,
        )
        self._move(course)
        self._watching = asyncio.create_task(self._watch(course), name="wsguard-migration")

    def _new_course(self, target: str, window: float) -> _Course:
        clock, source = self._clock, self._backends.active_name
        return _Course(
            Plan(source, target, window, clock.wall()),
            Departures(self._registry, clock, self._rng, self._log, CloseReason.MIGRATING, staying=target),
            Lookout(self._backends, clock, source, target),
        )

    def _move(self, course: _Course) -> None:
        self._state, self._detail = MigrationState.MIGRATING, None
        course.moving_since = self._clock.monotonic()
        self._moving = asyncio.create_task(self._keep_moving(course.departures), name="wsguard-migrating")

    async def _keep_moving(self, departures: Departures) -> None:
        while True:  # who was let in at the last moment is found here
            await departures.run()
            await asyncio.sleep(_TICK)

    def _hold(self, course: _Course) -> None:
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        if course.moving_since is not None:
            course.moved_for += self._clock.monotonic() - course.moving_since
            course.moving_since = None

    def _stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._course is not None:
            self._hold(self._course)

    def _progress(self, course: _Course) -> Progress:
        since = course.moving_since
        seconds = course.moved_for + (0.0 if since is None else self._clock.monotonic() - since)
        return course.departures.progress(seconds, is_moving=since is not None)

    async def _watch(self, course: _Course) -> None:
        try:
            await self._follow(course)
        except Exception as error:  # a fault: nobody is to be closed by a migration that nobody watches
            self._hold(course)
            self._state, self._detail = MigrationState.PAUSED, "a fault of the guard"
            self._log.event("fault", logging.ERROR, where="migration", **describe(error))

    async def _follow(self, course: _Course) -> None:
        """Until everyone has been moved, or the target stayed away for too long."""
        while True:
            trouble = await self._trouble(course)
            if trouble is not None:
                if course.held_at is None:
                    self._pause(course, trouble)
                self._detail = trouble
                if await course.lookout.is_lost():
                    self._go_back(course, trouble)
                    return
            elif course.held_at is not None:
                self._end_pause(course)
                self._backends.activate(course.plan.target)
                self._log.audit("migration_resumed", target=course.plan.target)
                self._move(course)
            elif self._is_done(course):
                self._finish(course)
                return
            elif self._moving is not None and self._moving.done():
                self._moving.result()  # which raises: it never returns
            await asyncio.sleep(_TICK)

    async def _trouble(self, course: _Course) -> str | None:
        """Why nobody is to be closed now, as a sentence."""
        if self._drainer.is_draining:
            course.lookout.forgive()
            return "the guard is draining"
        return await course.lookout.problem()

    def _pause(self, course: _Course, trouble: str) -> None:
        self._hold(course)
        self._state, course.held_at = MigrationState.PAUSED, self._clock.monotonic()
        self._log.audit("migration_paused", target=course.plan.target, detail=trouble)

    def _end_pause(self, course: _Course) -> None:
        if course.held_at is not None:
            course.departures.postpone(self._clock.monotonic() - course.held_at)
            course.held_at = None

    def _finish(self, course: _Course) -> None:
        course.outcome = done = self._progress(course)
        self._hold(course)
        self._watching = None
        self._state = MigrationState.MIGRATED
        self._log.audit("migration_finished", target=course.plan.target, closed=done.closed, hinted=done.hinted)

    def _go_back(self, course: _Course, why: str) -> None:
        course.outcome = self._progress(course)
        course.departures.call_off()
        self._watching = None
        self._backends.activate(course.plan.source)
        self._state, self._detail = MigrationState.ABORTED, why
        self._log.audit("migration_aborted", source=course.plan.source, target=course.plan.target, detail=why)

    def _is_done(self, course: _Course) -> bool:
        """Nobody is left elsewhere; plain requests that go on, as streams of events do, are given the window."""
        others = [name for name in self._backends.names if name != course.plan.target]
        if course.departures.remaining or any(self._backends.handshakes(name) for name in others):
            return False
        return course.departures.is_over or not any(self._backends.requests(name) for name in others)

    def _at(self, name: str) -> BackendStatus:
        backends = self._backends
        return BackendStatus(
            name=name,
            is_active=name == backends.active_name,
            connections=self._registry.count_at(name),
            handshakes=backends.handshakes(name),
            requests=backends.requests(name),
        )
