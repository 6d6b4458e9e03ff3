"""The life of one guard: it has its rooms made, opens the door, and closes up at the end.

The order of the start matters. The policies are read first, so that a bad one is said before a port is taken; the door
opens last, so that the guard is never reachable without its probes. The end is the reverse, after a drain.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack

from wsguard import __version__
from wsguard.config.reload import Outcome
from wsguard.config.watch import Watcher
from wsguard.ops.admin import AdminPort
from wsguard.ops.control import control_app
from wsguard.ops.control_socket import serve_control
from wsguard.ops.drainer import DrainState
from wsguard.ops.loop_lag import sample_loop_lag
from wsguard.ops.overload_watch import OverloadWatch
from wsguard.ops.serving import serve
from wsguard.process import calm_the_collector, raise_descriptor_limit, room_for_connections, why
from wsguard.proxy import client_script, handshake_token, renewal_endpoint
from wsguard.proxy.client_script import ClientScript
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.door import Door
from wsguard.proxy.entrance import Listening, listen
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.handshake_token import HandshakeTokenEndpoint
from wsguard.proxy.renewal_endpoint import RenewalEndpoint
from wsguard.proxy.router import Route
from wsguard.rooms import Rooms, Settings
from wsguard.startup import StartError

_AT_ONCE = 0.01  # seconds; aiohttp takes 0 for ever
_LAST_REQUESTS = 1.0  # seconds that forwarded requests may go on, however long the drain took


class Guard:
    """One guard in this process. Made inside a running loop."""

    def __init__(self, settings: Settings) -> None:
        """Read the policies and make the rooms; nothing listens yet. Raises ConfigError and StartError."""
        self._settings = settings
        self._rooms = Rooms(settings)
        self._ending, self._hurried = asyncio.Event(), asyncio.Event()
        self._requests_end = 0.0  # on the loop's clock: until when forwarded requests may go on

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return. Raises StartError and ControlSocketError."""
        rooms = self._rooms
        guard = rooms.reloader.current.policy_set.guard
        raise_descriptor_limit()
        rooms.metrics.policies_loaded(True)
        rooms.announce(rooms.reloader.current)
        async with AsyncExitStack() as closing:
            closing.callback(rooms.log.close)
            if rooms.tracer is not None:
                closing.push_async_callback(asyncio.to_thread, rooms.tracer.close)
            closing.push_async_callback(rooms.fetching.close)
            closing.push_async_callback(rooms.asking.close)
            closing.push_async_callback(rooms.jwks.close)
            rooms.events.start()
            closing.push_async_callback(rooms.events.close)
            await self._serve_control(closing)
            await self._serve_admin(closing)
            await self._open_door(closing)
            watcher = Watcher(self._settings.policies, rooms.reloader)
            self._in_background("watching the policy files", watcher.run(), closing)
            self._in_background("sampling the loop's lag", sample_loop_lag(self._sample), closing)
            self._in_background("asking again about live connections", rooms.revalidator.run(), closing)
            closing.push_async_callback(rooms.migrator.close)
            closing.push_async_callback(rooms.env.rejudger.close)
            closing.push_async_callback(rooms.env.lobby.close)
            closing.push_async_callback(rooms.env.redialer.close)
            for keeper in (rooms.env.timekeeper, rooms.env.keepalive):
                keeper.start()
                closing.callback(keeper.stop)
            self._listen_to_signals()
            calm_the_collector()
            rooms.health.started = True
            rooms.log.event("started", version=__version__, listen=str(guard.listener.address))
            await self._ending.wait()
            await self._drain()
            rooms.log.event("stopped")

    async def _drain(self) -> None:
        """End the connections; requests under way may go on for what is then left of the window."""
        rooms = self._rooms
        if rooms.drainer.status.state is not DrainState.DRAINED:  # else a drain that was asked for has given them time
            self._requests_end = rooms.env.loop.time() + rooms.drain_window()
        await rooms.drainer.finish(rooms.drain_window())

    def _in_background(self, what: str, work: Coroutine[None, None, None], closing: AsyncExitStack) -> None:
        """Run `work` until the end; that it failed before is said, for nothing else would show it."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._rooms.env.observer.fault(what, error)

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        closing.callback(task.cancel)

    async def _open_door(self, closing: AsyncExitStack) -> None:
        rooms = self._rooms
        listener = rooms.reloader.current.policy_set.guard.listener
        forwarder = Forwarder(rooms.env)
        closing.push_async_callback(forwarder.close)
        routes: dict[str, Route] = {
            **rooms.events.routes(),
            handshake_token.PATH: HandshakeTokenEndpoint(rooms.env),
            renewal_endpoint.PATH: RenewalEndpoint(rooms.env),
            client_script.PATH: ClientScript(rooms.env),
        }
        door = Door(rooms.env, Conductor(rooms.env), forwarder, routes)
        self._watch = OverloadWatch(
            rooms.overload,
            rooms.log,
            lambda: rooms.policies().guard.overload,
            lambda: len(door.crowd),
            room_for_connections(),
        )
        closing.callback(self._watch.close)
        try:
            server = await listen(rooms.env.loop, door, listener, lambda: rooms.reloader.current.listener_tls)
        except OSError as error:
            raise StartError(f"cannot listen on {listener.address}: {why(error)}") from error
        closing.push_async_callback(self._finish_requests, server, door)

    def _sample(self, lag: float) -> None:
        self._rooms.metrics.loop_lagged(lag)
        self._watch.sample(lag)

    async def _finish_requests(self, server: Listening, door: Door) -> None:
        """Take no more requests, and wait for those under way; a second signal hurries."""
        server.close()
        left = max(self._requests_end - self._rooms.env.loop.time(), _LAST_REQUESTS)
        finishing = asyncio.create_task(door.shutdown(left))
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait((finishing, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not finishing.done():
            finishing.cancel()
            await door.shutdown(_AT_ONCE)

    async def _serve_admin(self, closing: AsyncExitStack) -> None:
        rooms = self._rooms
        spec = rooms.reloader.current.policy_set.guard.admin
        port = AdminPort(rooms.health, rooms.metrics, rooms.control, spec.allowed_hosts, self._admin_token)
        try:
            served = await serve(port.app(), spec.address.host, spec.address.port)
        except OSError as error:
            raise StartError(f"cannot listen on {spec.address} (admin): {why(error)}") from error
        closing.push_async_callback(served.cleanup)

    async def _serve_control(self, closing: AsyncExitStack) -> None:
        if self._settings.control is not None:
            served = await serve_control(control_app(self._rooms.control), self._settings.control)
            closing.push_async_callback(served.close)

    def _admin_token(self) -> bytes | None:
        snapshot = self._rooms.reloader.current
        file = snapshot.policy_set.guard.admin.token_file
        return None if file is None else snapshot.key_files[file]

    def _listen_to_signals(self) -> None:
        rooms = self._rooms
        for number in (signal.SIGTERM, signal.SIGINT):
            rooms.env.loop.add_signal_handler(number, self._end)
        rooms.env.loop.add_signal_handler(signal.SIGHUP, self._reload_now)

    def _end(self) -> None:
        """The first signal drains; the next one hurries."""
        if self._ending.is_set():
            self._hurried.set()
            self._rooms.drainer.hurry()
        self._ending.set()

    def _reload_now(self) -> None:
        """SIGHUP: read the files now, whether or not the watcher saw a change, and let go of a rotated audit file."""
        rooms = self._rooms
        try:
            rooms.log.reopen()
        except OSError as error:
            rooms.log.event("audit_file_kept", logging.ERROR, error=why(error))
        self._reloading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        rooms = self._rooms
        result = await rooms.reloader.reload()
        if result.outcome is Outcome.UNCHANGED:  # who asked for it wants to see that it happened
            rooms.log.event("policies_unchanged", revision=result.snapshot.revision)
