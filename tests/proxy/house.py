"""The proxy in this process, with real rooms around it and clocks that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from types import TracebackType

from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually
from wsguard.policy.credentials import Credential
from wsguard.policy.model import Backend, GuardSpec, HostPort, Listener, Metadata, PolicySpec, WebSocketPolicy
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import renewal_endpoint
from wsguard.proxy.backends import Backends
from wsguard.proxy.conductor import Conductor
from wsguard.proxy.door import Door
from wsguard.proxy.entrance import listen
from wsguard.proxy.environment import Environment
from wsguard.proxy.forward import Forwarder
from wsguard.proxy.keepalive import Keepalive
from wsguard.proxy.lobby import Lobby
from wsguard.proxy.redialer import Redialer
from wsguard.proxy.rejudger import Rejudger
from wsguard.proxy.renewal_endpoint import RenewalEndpoint
from wsguard.proxy.renewer import Renewer
from wsguard.proxy.router import Route
from wsguard.proxy.timekeeper import Timekeeper
from wsguard.proxy.turnstile import Turnstile
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity
from wsguard.sessions.records import Decided, Delivery, Ended, Rejoined, Renewed, Side
from wsguard.sessions.registry import Registry


class TurnableClock:
    """Real clocks, plus what the test adds to each."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.wall_offset = 1_000_000.0
        self.monotonic_offset = 0.0

    def wall(self) -> float:
        return self.loop.time() + self.wall_offset

    def monotonic(self) -> float:
        return self.loop.time() + self.monotonic_offset


class Notebook:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.decisions: list[Decided] = []
        self.ends: list[Ended] = []
        self.spares: list[tuple[str, CloseReason]] = []
        self.pings: list[Side] = []
        self.throttles: list[tuple[str, CloseReason]] = []
        self.rejudgements: list[tuple[int, int]] = []
        self.renewals: list[Renewed] = []
        self.turned: list[tuple[int, str]] = []
        self.lingered_as: list[Delivery] = []
        self.lingering_now = 0
        self.overflows = 0
        self.cut_short: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.holds: list[str] = []
        self.declined: list[str] = []
        self.redials: list[str] = []
        self.returns: list[Rejoined] = []
        self.held_now = 0

    def decided(self, record: Decided) -> None:
        self.decisions.append(record)

    def ended(self, record: Ended) -> None:
        self.ends.append(record)

    def spared(self, connection_id: str, policy: str, reason: CloseReason, detail: str) -> None:
        self.spares.append((connection_id, reason))

    def pinged(self, side: Side) -> None:
        self.pings.append(side)

    def throttled(self, connection_id: str, policy: str, reason: CloseReason) -> None:
        self.throttles.append((connection_id, reason))

    def rejudged(self, judged: int, cut: int) -> None:
        self.rejudgements.append((judged, cut))

    def held(self, connection_id: str, policy: str, backend: str) -> None:
        self.holds.append(connection_id)

    def not_held(self, connection_id: str, policy: str, detail: str) -> None:
        self.declined.append(detail)

    def redialled(self, policy: str, result: str) -> None:
        self.redials.append(result)

    def rejoined(self, record: Rejoined) -> None:
        self.returns.append(record)

    def holding(self, count: int) -> None:
        self.held_now = count

    def renewed(self, record: Renewed) -> None:
        self.renewals.append(record)

    def turned_away(self, client_ip: str, status: int, detail: str) -> None:
        self.turned.append((status, detail))

    def body_cut_short(self, client_ip: str, detail: str) -> None:
        self.cut_short.append(detail)

    def lingering(self, count: int) -> None:
        self.lingering_now = count

    def lingered(self, delivery: Delivery) -> None:
        self.lingered_as.append(delivery)

    def lingering_exceeded(self) -> None:
        self.overflows += 1

    def fault(self, where: str, error: BaseException) -> None:
        self.faults.append((where, error))


class Facts:
    """A verifier whose answers the test sets."""

    def __init__(self) -> None:
        self.identity: Identity | None = None

    def cached(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...] | None:
        return None

    async def gather(self, policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
        assert self.identity is not None
        return tuple(TokenFact(credential, self.identity) for credential in credentials)


def policy_set(guard: GuardSpec | None = None, /, **specs: PolicySpec) -> PolicySet:
    """Policies by name."""
    policies = (WebSocketPolicy(metadata=Metadata(name=name), spec=spec) for name, spec in specs.items())
    return PolicySet(tuple(policies), guard or GuardSpec())


class House:
    """A door on a free port in front of `backend`, under one policy for every path."""

    def __init__(
        self,
        backend: RecordingBackend | Backend | str,
        spec: PolicySpec | None = None,
        guard: GuardSpec | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        self.routes = routes
        self.spec, self.guard = spec or PolicySpec(), guard or GuardSpec()
        url = backend if isinstance(backend, str) else backend.url
        self.backend = backend if isinstance(backend, Backend) else Backend(url=url)
        self.notebook, self.facts = Notebook(), Facts()
        self.draining = False

    async def __aenter__(self) -> House:
        loop = asyncio.get_running_loop()
        self.clock = TurnableClock()
        self.timekeeper = Timekeeper(loop, self.clock)
        self.keepalive = Keepalive(loop, self.clock, Random(7), self.notebook.pinged)
        self.registry, self.deny_list = Registry(), DenyList()
        self.policies = policy_set(self.guard, test=self.spec)
        self.rejudger = Rejudger(self.clock, self.notebook, lambda: self.policies)
        self.renewer = Renewer(self.registry, self.deny_list, self.notebook)
        self.lobby = Lobby()
        self.redialer = Redialer(loop, Random(7), self.notebook.holding)
        self.env = env = Environment(
            loop=loop,
            clock=self.clock,
            rng=Random(7),
            registry=self.registry,
            deny_list=self.deny_list,
            timekeeper=self.timekeeper,
            keepalive=self.keepalive,
            rejudger=self.rejudger,
            renewer=self.renewer,
            turnstile=Turnstile(self.registry, self.clock, lambda: self.policies),
            lobby=self.lobby,
            redialer=self.redialer,
            verifier=self.facts,
            observer=self.notebook,
            policies=lambda: self.policies,
            is_draining=lambda: self.draining,
            backends=Backends((self.backend,), self.clock),
        )
        self.forwarder = Forwarder(env)
        routes: dict[str, Route] = {renewal_endpoint.PATH: RenewalEndpoint(env), **(self.routes or {})}
        self.door = Door(env, Conductor(env), self.forwarder, routes)
        self.server = await listen(loop, self.door, Listener(address=HostPort("127.0.0.1", 0)), lambda: None)
        self.port = int(self.server.sockets[0].getsockname()[1])
        self.timekeeper.start()
        self.keepalive.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.timekeeper.stop()
        self.keepalive.stop()
        await self.rejudger.close()
        await self.lobby.close()
        await self.redialer.close()
        self.server.close()
        for connection in self.registry:
            connection.link.cut(CloseReason.TERMINATED)
        await self.door.shutdown(1.0)
        await self.forwarder.close()
        if error is None:
            await self.empty()
            assert self.notebook.faults == []

    async def empty(self) -> None:
        """Wait until nobody is registered, watched, awaited or lingering any more."""
        await eventually(self._is_empty, what="an empty house")
        assert not self.timekeeper._watched
        assert not len(self.keepalive)
        assert not len(self.renewer)
        assert (len(self.redialer), self.redialer.kept) == (0, 0)
        assert not len(self.registry.census)

    def _is_empty(self) -> bool:
        return not len(self.registry) and not self.notebook.lingering_now and not len(self.lobby)

    def reload(self, **specs: PolicySpec) -> None:
        """Put other policies in force, by name."""
        self.policies = policy_set(self.guard, **specs)
        self.rejudger.reloaded()

    async def end(self) -> Ended:
        """The first connection's end."""
        return await eventually(lambda: next(iter(self.notebook.ends), None), what="a connection's end")
