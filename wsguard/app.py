"""The composition root: makes every room, introduces them to one another, opens the door, and closes up at the end.

The order of the start matters. The policies are read first, so that a bad one is said before a port is taken; the door
opens last, so that the guard is never reachable without its probes. The end is the reverse, after a drain.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom
from secrets import token_hex
from typing import TYPE_CHECKING

import aiohttp

from wsguard import __version__
from wsguard.config.reload import Outcome, Reloader, ReloadResult
from wsguard.config.store import Snapshot, read
from wsguard.config.watch import Watcher
from wsguard.events.assemble import MissingExtra, require_extras
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
from wsguard.ops.admin import AdminPort
from wsguard.ops.audit_file import AuditFile
from wsguard.ops.control import Control, control_app
from wsguard.ops.control_socket import serve_control
from wsguard.ops.drainer import Drainer, DrainState
from wsguard.ops.event_observer import EventObserver
from wsguard.ops.health import Health
from wsguard.ops.log import Log
from wsguard.ops.log_writer import LineWriter
from wsguard.ops.loop_lag import sample_loop_lag
from wsguard.ops.metrics import Metrics
from wsguard.ops.migration_api import MigrationApi
from wsguard.ops.migrator import Migrator
from wsguard.ops.observer import Observer
from wsguard.ops.overload_watch import OverloadWatch
from wsguard.ops.overview import Overview
from wsguard.ops.problem import ProblemError
from wsguard.ops.scrape import Sources
from wsguard.ops.serving import serve
from wsguard.ops.views import LoadedPolicies, LoadedPolicy
from wsguard.policy.credentials import Credential
from wsguard.policy.model import Shutdown, WebSocketPolicy
from wsguard.policy.model_guard import Logging, Tracing
from wsguard.policy.overrides import Overrides
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.yaml_source import Place
from wsguard.process import SystemClock, calm_the_collector, raise_descriptor_limit, room_for_connections, why
from wsguard.proxy import client_script, handshake_token, renewal_endpoint
from wsguard.proxy.backends import Backends
from wsguard.proxy.client_script import ClientScript
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.door import Door, Route
from wsguard.proxy.entrance import Listening, listen
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.handshake_token import HandshakeTokenEndpoint
from wsguard.proxy.keepalive import Keepalive
from wsguard.proxy.lobby import Lobby
from wsguard.proxy.redialer import Redialer
from wsguard.proxy.rejudger import Rejudger
from wsguard.proxy.renewal_endpoint import RenewalEndpoint
from wsguard.proxy.renewer import Renewer
from wsguard.proxy.timekeeper import Timekeeper
from wsguard.proxy.turnstile import Turnstile
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity
from wsguard.sessions.logout import Logout
from wsguard.sessions.overload import Overload
from wsguard.sessions.registry import Registry

if TYPE_CHECKING:
    from wsguard.ops.tracing import OtlpTracer

_STDOUT = 1
_AT_ONCE = 0.01  # seconds; aiohttp takes 0 for ever
_LAST_REQUESTS = 1.0  # seconds that forwarded requests may go on, however long the drain took


class StartError(Exception):
    """The guard cannot start: a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. `control` is the path of the control socket; None: there is none."""

    policies: tuple[Path, ...]
    overrides: Overrides
    control: Path | None


class Guard:
    """One guard in this process. Made inside a running loop."""

    def __init__(self, settings: Settings) -> None:
        """Read the policies and make the rooms; nothing listens yet. Raises ConfigError and StartError."""
        self._settings = settings
        loop = asyncio.get_running_loop()
        load = partial(read, settings.policies, settings.overrides)
        self._reloader = Reloader(load(), load, self._reloaded)
        guard = self._reloader.current.policy_set.guard
        if not guard.backends:
            raise StartError("no backend: give --backend http://127.0.0.1:3000, or `backends` in a GuardConfig")
        try:
            require_extras(guard.session_events)
        except MissingExtra as error:
            raise StartError(str(error)) from None
        self._tracer = _tracer(guard.tracing)
        self._log = _log(guard.logging)
        self._log.install()
        self._clock = clock = SystemClock()
        rng = SystemRandom()
        events = guard.session_events
        self._registry = Registry()
        self._deny_list = DenyList(events.deny_list.max_entries, events.replay_window if events.sources else 0.0)
        lobby, self._overload = Lobby(), Overload()
        self._drainer = Drainer(self._registry, clock, rng, self._log, lobby.send_away, self._shutdown)
        backends = Backends(guard.backends, clock, lambda: self._reloader.current.backend_tls)
        self._migrator = Migrator(self._registry, backends, self._drainer, clock, rng, self._log, self._shutdown)
        sources = Sources(
            self._registry,
            self._deny_list,
            self._drainer,
            clock,
            log_dropped=lambda: self._log.dropped,
            awaited=lambda: len(lobby),
            tasks=lambda: len(asyncio.all_tasks(loop)),
            migrator=self._migrator,
            overload=self._overload,
        )
        self._metrics = Metrics(sources)
        self._fetching = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._jwks = JwksCache(self._fetching, clock, self._metrics.jwks_fetched)
        self._asking = new_session()
        self._inquiry = self._inquiry_under(self._reloader.current)
        self._events = SessionEventsRoom(
            spec=events,
            files=lambda: self._reloader.current.key_files,
            keys=KeyFinder(self._jwks, lambda: self._reloader.current.local_keys),
            registry=self._registry,
            deny_list=self._deny_list,
            clock=clock,
            observer=EventObserver(self._log, self._metrics),
            issuers=self._issuers,
            policies=self._policies,
            vouch=self._vouch,
            rng=rng,
        )
        self._health = Health(has_heard=lambda: self._events.is_ready)
        observer = Observer(self._log, self._metrics)
        self._revalidator = Revalidator(lambda: self._inquiry, clock, rng, observer.fault)
        self._env = Environment(
            loop=loop,
            clock=clock,
            rng=rng,
            registry=self._registry,
            deny_list=self._deny_list,
            timekeeper=Timekeeper(loop, clock),
            keepalive=Keepalive(loop, clock, rng, self._metrics.pinged),
            rejudger=Rejudger(clock, observer, self._policies),
            renewer=Renewer(self._registry, self._deny_list, observer),
            turnstile=Turnstile(self._registry, clock, self._policies),
            lobby=lobby,
            redialer=Redialer(loop, rng, observer.holding),
            verifier=self._inquiry,
            observer=observer,
            policies=self._policies,
            is_draining=lambda: self._drainer.refuses,
            backends=backends,
            approver=self._inquiry,
            revalidator=self._revalidator,
            tracer=self._tracer,
            session_watch=self._events.detector,
            token_keys=lambda: self._reloader.current.token_keys,
            overload=self._overload,
        )
        self._control = Control(
            registry=self._registry,
            denylist=self._deny_list,
            drainer=self._drainer,
            clock=clock,
            log=self._log,
            log_out=self._log_out,
            policies=self._loaded,
            issuers=self._issuers,
            drain_window=self._drain_window,
            overview=Overview(self._metrics, self._drainer, self._migrator, self._loaded, clock, clock.wall()),
            migration=MigrationApi(self._migrator, self._drain_window),
        )
        self._ending, self._hurried = asyncio.Event(), asyncio.Event()
        self._requests_end = 0.0  # on the loop's clock: until when forwarded requests may go on

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return. Raises StartError and ControlSocketError."""
        guard = self._reloader.current.policy_set.guard
        raise_descriptor_limit()
        self._metrics.policies_loaded(True)
        self._announce(self._reloader.current)
        async with AsyncExitStack() as closing:
            closing.callback(self._log.close)
            if self._tracer is not None:
                closing.push_async_callback(asyncio.to_thread, self._tracer.close)
            closing.push_async_callback(self._fetching.close)
            closing.push_async_callback(self._asking.close)
            closing.push_async_callback(self._jwks.close)
            self._events.start()
            closing.push_async_callback(self._events.close)
            await self._serve_control(closing)
            await self._serve_admin(closing)
            await self._open_door(closing)
            watcher = Watcher(self._settings.policies, self._reloader)
            self._in_background("watching the policy files", watcher.run(), closing)
            self._in_background("sampling the loop's lag", sample_loop_lag(self._sample), closing)
            self._in_background("asking again about live connections", self._revalidator.run(), closing)
            closing.push_async_callback(self._migrator.close)
            closing.push_async_callback(self._env.rejudger.close)
            closing.push_async_callback(self._env.lobby.close)
            closing.push_async_callback(self._env.redialer.close)
            for keeper in (self._env.timekeeper, self._env.keepalive):
                keeper.start()
                closing.callback(keeper.stop)
            self._listen_to_signals()
            calm_the_collector()
            self._health.started = True
            self._log.event("started", version=__version__, listen=str(guard.listener.address))
            await self._ending.wait()
            await self._drain()
            self._log.event("stopped")

    async def _drain(self) -> None:
        """End the connections; requests under way may go on for what is then left of the window."""
        if self._drainer.status.state is not DrainState.DRAINED:  # else a drain that was asked for has given them time
            self._requests_end = self._env.loop.time() + self._drain_window()
        await self._drainer.finish(self._drain_window())

    def _in_background(self, what: str, work: Coroutine[None, None, None], closing: AsyncExitStack) -> None:
        """Run `work` until the end; that it failed before is said, for nothing else would show it."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._env.observer.fault(what, error)

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        closing.callback(task.cancel)

    async def _open_door(self, closing: AsyncExitStack) -> None:
        listener = self._reloader.current.policy_set.guard.listener
        forwarder = Forwarder(self._env)
        closing.push_async_callback(forwarder.close)
        routes: dict[str, Route] = {
            **self._events.routes(),
            handshake_token.PATH: HandshakeTokenEndpoint(self._env),
            renewal_endpoint.PATH: RenewalEndpoint(self._env),
            client_script.PATH: ClientScript(self._env),
        }
        door = Door(self._env, Conductor(self._env), forwarder, routes)
        self._watch = OverloadWatch(
            self._overload,
            self._log,
            lambda: self._policies().guard.overload,
            lambda: len(door.crowd),
            room_for_connections(),
        )
        closing.callback(self._watch.close)
        try:
            server = await listen(self._env.loop, door, listener, lambda: self._reloader.current.listener_tls)
        except OSError as error:
            raise StartError(f"cannot listen on {listener.address}: {why(error)}") from error
        closing.push_async_callback(self._finish_requests, server, door)

    def _sample(self, lag: float) -> None:
        self._metrics.loop_lagged(lag)
        self._watch.sample(lag)

    async def _finish_requests(self, server: Listening, door: Door) -> None:
        """Take no more requests, and wait for those under way; a second signal hurries."""
        server.close()
        left = max(self._requests_end - self._env.loop.time(), _LAST_REQUESTS)
        finishing = asyncio.create_task(door.shutdown(left))
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait((finishing, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not finishing.done():
            finishing.cancel()
            await door.shutdown(_AT_ONCE)

    async def _serve_admin(self, closing: AsyncExitStack) -> None:
        spec = self._reloader.current.policy_set.guard.admin
        port = AdminPort(self._health, self._metrics, self._control, spec.allowed_hosts, self._admin_token)
        try:
            served = await serve(port.app(), spec.address.host, spec.address.port)
        except OSError as error:
            raise StartError(f"cannot listen on {spec.address} (admin): {why(error)}") from error
        closing.push_async_callback(served.cleanup)

    async def _serve_control(self, closing: AsyncExitStack) -> None:
        if self._settings.control is not None:
            served = await serve_control(control_app(self._control), self._settings.control)
            closing.push_async_callback(served.close)

    async def _log_out(self, logout: Logout) -> tuple[int, bool]:
        """A log-out that the control API was asked for: here, and on every replica."""
        try:
            published = await self._events.bus.publish("ControlAPI", logout, token_hex(8))
        except OutboxFull:
            detail = "logged out here, but too many wait for the stream already: the other replicas will not hear of it"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail) from None
        return published.closed, published.stored

    def _vouch(self, policy: WebSocketPolicy, credential: Credential) -> Identity | None:
        return self._inquiry.tokens.vouch(policy, credential)

    def _shutdown(self) -> Shutdown:
        return self._policies().guard.shutdown

    def _drain_window(self) -> float:
        return self._shutdown().drain_window

    def _admin_token(self) -> bytes | None:
        snapshot = self._reloader.current
        file = snapshot.policy_set.guard.admin.token_file
        return None if file is None else snapshot.key_files[file]

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._env.loop.add_signal_handler(number, self._end)
        self._env.loop.add_signal_handler(signal.SIGHUP, self._reload_now)

    def _end(self) -> None:
        """The first signal drains; the next one hurries."""
        if self._ending.is_set():
            self._hurried.set()
            self._drainer.hurry()
        self._ending.set()

    def _reload_now(self) -> None:
        """SIGHUP: read the files now, whether or not the watcher saw a change, and let go of a rotated audit file."""
        try:
            self._log.reopen()
        except OSError as error:
            self._log.event("audit_file_kept", logging.ERROR, error=why(error))
        self._reloading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        result = await self._reloader.reload()
        if result.outcome is Outcome.UNCHANGED:  # who asked for it wants to see that it happened
            self._log.event("policies_unchanged", revision=result.snapshot.revision)

    def _reloaded(self, result: ReloadResult) -> None:
        self._metrics.policies_loaded(result.outcome is not Outcome.REFUSED)
        if result.outcome is Outcome.REFUSED:
            self._log.audit("reload_refused", logging.ERROR, error=result.error)
            return
        self._inquiry = self._env.verifier = self._env.approver = self._inquiry_under(result.snapshot)
        logging_spec = result.snapshot.policy_set.guard.logging
        self._log.configure(logging_spec.level.value, logging_spec.format.value)
        self._announce(result.snapshot)
        self._env.rejudger.reloaded()

    def _policies(self) -> PolicySet:
        return self._reloader.current.policy_set

    def _announce(self, snapshot: Snapshot) -> None:
        for warning in snapshot.warnings:
            self._log.event("policy_warning", logging.WARNING, detail=str(warning))
        self._log.revision = snapshot.revision
        self._log.audit("policies_loaded", policies=[policy.name for policy in snapshot.policy_set.policies])

    def _inquiry_under(self, snapshot: Snapshot) -> Inquiry:
        """One of its own for each snapshot: what was learned with yesterday's keys and secrets is forgotten."""
        policies, files = snapshot.policy_set, snapshot.key_files
        # Of what was answered before a log-out nothing counts after it.
        asking = (lines(self._asking), self._clock, lambda: self._deny_list.changes, self._metrics.identity_asked)
        return Inquiry(
            TokenVerifier(self._jwks, snapshot.local_keys, self._clock),
            Introspector(policies, files, *asking),
            ForwardAuthorizer(policies, files, *asking),
        )

    def _loaded(self) -> LoadedPolicies:
        snapshot, reloader = self._reloader.current, self._reloader
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
        return self._policies().issuers


def _log(spec: Logging) -> Log:
    """Raises StartError."""
    audit_file = None
    if spec.audit_file is not None:
        try:
            audit_file = AuditFile(spec.audit_file)
        except OSError as error:
            raise StartError(f"cannot write {spec.audit_file} (logging.auditFile): {why(error)}") from error
    return Log(LineWriter(_STDOUT), spec.level.value, spec.format.value, audit_file)


def _tracer(spec: Tracing | None) -> OtlpTracer | None:
    """Raises StartError."""
    if spec is None:
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise StartError("tracing needs an extra: pip install 'wsguard[otel]'")
    from wsguard.ops.tracing import OtlpTracer  # noqa: PLC0415 - who traces nothing need not have it

    return OtlpTracer(spec)
