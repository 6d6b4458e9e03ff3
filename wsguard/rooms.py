"""The rooms of one guard: each is made here, and introduced to those that it needs.

The policies are read first, so that a bad one is said before a port is taken. Nothing here waits, or listens.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom
from secrets import token_hex

import aiohttp

from wsguard.config.reload import Outcome, Reloader, ReloadResult
from wsguard.config.store import Snapshot, read
from wsguard.events.outbox import OutboxFull
from wsguard.events.room import SessionEventsRoom
from wsguard.identity.exchange import lines, new_session
from wsguard.identity.finder import KeyFinder
from wsguard.identity.forward_auth import ForwardAuthorizer
from wsguard.identity.inquiry import Inquiry
from wsguard.identity.introspection import Introspector
from wsguard.identity.jwks import JwksCache
from wsguard.identity.revalidator import Revalidator
from wsguard.identity.verifier import TokenVerifier
from wsguard.ops.control import Control
from wsguard.ops.drainer import Drainer
from wsguard.ops.event_observer import EventObserver
from wsguard.ops.health import Health
from wsguard.ops.metrics import Metrics
from wsguard.ops.migration_api import MigrationApi
from wsguard.ops.migrator import Migrator
from wsguard.ops.observer import Observer
from wsguard.ops.overview import Overview
from wsguard.ops.problem import ProblemError
from wsguard.ops.scrape import Sources
from wsguard.ops.views import LoadedPolicies, LoadedPolicy
from wsguard.policy.credentials import Credential
from wsguard.policy.model import Shutdown, WebSocketPolicy
from wsguard.policy.model_events import SessionEvents
from wsguard.policy.overrides import Overrides
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.yaml_source import Place
from wsguard.process import SystemClock
from wsguard.proxy.backends import Backends
from wsguard.proxy.environment import Environment
from wsguard.proxy.keepalive import Keepalive
from wsguard.proxy.lobby import Lobby
from wsguard.proxy.redialer import Redialer
from wsguard.proxy.rejudger import Rejudger
from wsguard.proxy.renewer import Renewer
from wsguard.proxy.timekeeper import Timekeeper
from wsguard.proxy.turnstile import Turnstile
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity
from wsguard.sessions.logout import Logout
from wsguard.sessions.overload import Overload
from wsguard.sessions.registry import Registry
from wsguard.startup import new_log, new_tracer, require


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. `control` is the path of the control socket; None: there is none."""

    policies: tuple[Path, ...]
    overrides: Overrides
    control: Path | None


class Rooms:
    """The rooms of one guard. Made inside a running loop."""

    def __init__(self, settings: Settings) -> None:
        """Read the policies and make the rooms; nothing is begun yet. Raises ConfigError and StartError."""
        loop = asyncio.get_running_loop()
        load = partial(read, settings.policies, settings.overrides)
        self.reloader = Reloader(load(), load, self._reloaded)
        guard = self.reloader.current.policy_set.guard
        require(guard)
        self.tracer = new_tracer(guard.tracing)
        self.log = new_log(guard.logging)
        self.log.install()
        self._clock = clock = SystemClock()
        self._rng = rng = SystemRandom()
        self._lobby, self.overload = Lobby(), Overload()
        self._registry = Registry()
        events = guard.session_events
        self._deny_list = DenyList(events.deny_list.max_entries, events.replay_window if events.sources else 0.0)
        self._backends = Backends(guard.backends, clock, lambda: self.reloader.current.backend_tls)
        self.drainer = Drainer(self._registry, clock, rng, self.log, self._lobby.send_away, self._shutdown)
        self.migrator = Migrator(self._registry, self._backends, self.drainer, clock, rng, self.log, self._shutdown)
        self.metrics = Metrics(self._sources(loop))
        self.fetching = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self.jwks = JwksCache(self.fetching, clock, self.metrics.jwks_fetched)
        self.asking = new_session()
        self._inquiry = self._inquiry_under(self.reloader.current)
        self.events = self._session_events(events)
        self.health = Health(has_heard=lambda: self.events.is_ready)
        observer = Observer(self.log, self.metrics)
        self.revalidator = Revalidator(lambda: self._inquiry, clock, rng, observer.fault)
        self.env = self._environment(loop, observer)
        self.control = self._control_api()

    # The rooms that need the most of the others.

    def _sources(self, loop: asyncio.AbstractEventLoop) -> Sources:
        return Sources(
            self._registry,
            self._deny_list,
            self.drainer,
            self._clock,
            log_dropped=lambda: self.log.dropped,
            awaited=lambda: len(self._lobby),
            tasks=lambda: len(asyncio.all_tasks(loop)),
            migrator=self.migrator,
            overload=self.overload,
        )

    def _session_events(self, spec: SessionEvents) -> SessionEventsRoom:
        return SessionEventsRoom(
            spec=spec,
            files=lambda: self.reloader.current.key_files,
            keys=KeyFinder(self.jwks, lambda: self.reloader.current.local_keys),
            registry=self._registry,
            deny_list=self._deny_list,
            clock=self._clock,
            observer=EventObserver(self.log, self.metrics),
            issuers=self._issuers,
            policies=self.policies,
            vouch=self._vouch,
            rng=self._rng,
        )

    def _environment(self, loop: asyncio.AbstractEventLoop, observer: Observer) -> Environment:
        clock, rng = self._clock, self._rng
        return Environment(
            loop=loop,
            clock=clock,
            rng=rng,
            registry=self._registry,
            deny_list=self._deny_list,
            timekeeper=Timekeeper(loop, clock),
            keepalive=Keepalive(loop, clock, rng, self.metrics.pinged),
            rejudger=Rejudger(clock, observer, self.policies),
            renewer=Renewer(self._registry, self._deny_list, observer),
            turnstile=Turnstile(self._registry, clock, self.policies),
            lobby=self._lobby,
            redialer=Redialer(loop, rng, observer.holding),
            verifier=self._inquiry,
            observer=observer,
            policies=self.policies,
            is_draining=lambda: self.drainer.refuses,
            backends=self._backends,
            approver=self._inquiry,
            revalidator=self.revalidator,
            tracer=self.tracer,
            session_watch=self.events.detector,
            token_keys=lambda: self.reloader.current.token_keys,
            overload=self.overload,
        )

    def _control_api(self) -> Control:
        clock = self._clock
        return Control(
            registry=self._registry,
            denylist=self._deny_list,
            drainer=self.drainer,
            clock=clock,
            log=self.log,
            log_out=self._log_out,
            policies=self._loaded,
            issuers=self._issuers,
            drain_window=self.drain_window,
            overview=Overview(self.metrics, self.drainer, self.migrator, self._loaded, clock, clock.wall()),
            migration=MigrationApi(self.migrator, self.drain_window),
        )

    # What the rooms ask of each other, and what a reload changes.

    async def _log_out(self, logout: Logout) -> tuple[int, bool]:
        """A log-out that the control API was asked for: here, and on every replica."""
        try:
            published = await self.events.bus.publish("ControlAPI", logout, token_hex(8))
        except OutboxFull:
            detail = "logged out here, but too many wait for the stream already: the other replicas will not hear of it"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail) from None
        return published.closed, published.stored

    def _vouch(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        return self._inquiry.tokens.vouch(policy, credential)

    def _shutdown(self) -> Shutdown:
        return self.policies().guard.shutdown

    def drain_window(self) -> float:
        return self._shutdown().drain_window

    def _reloaded(self, result: ReloadResult) -> None:
        self.metrics.policies_loaded(result.outcome is not Outcome.REFUSED)
        if result.outcome is Outcome.REFUSED:
            self.log.audit("reload_refused", logging.ERROR, error=result.error)
            return
        self._inquiry = self.env.verifier = self.env.approver = self._inquiry_under(result.snapshot)
        logging_spec = result.snapshot.policy_set.guard.logging
        self.log.configure(logging_spec.level.value, logging_spec.format.value)
        self.announce(result.snapshot)
        self.env.rejudger.reloaded()

    def policies(self) -> PolicySet:
        return self.reloader.current.policy_set

    def announce(self, snapshot: Snapshot) -> None:
        for warning in snapshot.warnings:
            self.log.event("policy_warning", logging.WARNING, detail=str(warning))
        self.log.revision = snapshot.revision
        self.log.audit("policies_loaded", policies=[policy.name for policy in snapshot.policy_set.policies])

    def _inquiry_under(self, snapshot: Snapshot) -> Inquiry:
        """One of its own for each snapshot: what was learned with yesterday's keys and secrets is forgotten."""
        policies, files = snapshot.policy_set, snapshot.key_files
        # Of what was answered before a log-out nothing counts after it.
        asking = (lines(self.asking), self._clock, lambda: self._deny_list.changes, self.metrics.identity_asked)
        return Inquiry(
            TokenVerifier(self.jwks, snapshot.local_keys, self._clock),
            Introspector(policies, files, *asking),
            ForwardAuthorizer(policies, files, *asking),
        )

    def _loaded(self) -> LoadedPolicies:
        snapshot, reloader = self.reloader.current, self.reloader
        built_in = Place("built in", 0, 0)
        places = {p.name: snapshot.policy_set.places.get(p.name, built_in) for p in snapshot.policy_set.policies}
        return LoadedPolicies(
            policies=tuple(LoadedPolicy(name, place.file, place.line) for name, place in places.items()),
            revision=snapshot.revision,
            loaded_at=snapshot.loaded_at,
            last_error=reloader.last_error,
            last_error_at=reloader.last_error_at,
        )

    def _issuers(self) -> frozenset[str]:
        return self.policies().issuers
