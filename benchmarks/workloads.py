"""What is measured: relayed messages, handshakes, latency, and what open connections cost.

Every figure is filed under the name of its workload and its proxy, one or more a round. CPU time and latency
are in seconds, memory in bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, product

from benchmarks.native import Load, Phase, Tools
from benchmarks.peers import Peer, handshake_headers, running
from benchmarks.processes import Process

SIZES = (64, 1024, 16 * 1024, 256 * 1024)
WINDOWS = (1, 16)
BUSY = 10  # connections that carry messages
SHAKERS = (1, 16)  # handshakes under way at a time
PACED_SIZE, PACED_RATE = 1024, 1000.0  # a load that no proxy here is busy with
NO_PROXY = "no proxy"  # the latency of load and backend alone
SETTLE = 0.02  # seconds; what a proxy does after the last byte belongs to the figure


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each phase lasts, in seconds, and how often it is done.

    In each of the `rounds` every proxy is a new process; within a round the proxies take `turns` at each
    workload, so that a slower second of the machine does not fall on one of them alone.
    """

    rounds: int = 5
    turns: int = 3
    relay: float = 0.3
    handshake: float = 0.4
    latency: float = 2.0
    rotate: float = 0.4
    idle: float = 1.0
    open: tuple[int, ...] = (10, 100, 1000, 5000)


FULL = Effort()
QUICK = Effort(rounds=1, turns=1, latency=1.0, rotate=0.3, idle=0.5)


@dataclass(slots=True)
class Figures:
    """Every figure so far: workload → proxy → values."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, workload: str, peer: str, value: float) -> None:
        """File one more value."""
        self.values.setdefault(workload, {}).setdefault(peer, []).append(value)


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything a round needs: the tools, the backend's port, the proxies, and where the figures go."""

    tools: Tools
    backend_port: int
    peers: tuple[Peer, ...]
    effort: Effort
    figures: Figures
    _folders: Iterator[int] = field(default_factory=count)

    def round(self, number: int, say: Callable[[str], None]) -> None:
        """Measure everything once; which proxy begins moves on every round."""
        shift = number % len(self.peers)
        peers = self.peers[shift:] + self.peers[:shift]
        with ExitStack() as stack:
            say("starting")
            stock = {peer.name: stack.enter_context(self._target(peer)) for peer in peers}
            tuned = {p.name: stack.enter_context(self._target(p, tuned=True)) for p in peers if p.tunable}
            for size in SIZES:
                say(f"relaying messages of {size} bytes")
                for window in WINDOWS:
                    self._relay({**stock, **tuned}, size, window)
            say("handshakes")
            self._handshakes(stock)
            say("latency")
            self._latency(stock)
        for peer in peers:
            say(f"open connections: {peer.name}")
            self._open_connections(peer)

    @contextmanager
    def _target(self, peer: Peer, *, tuned: bool = False) -> Iterator[_Target]:
        folder = self.tools.folder / f"proxy-{next(self._folders)}"
        with (
            running(peer, folder, self.backend_port, tuned=tuned) as (process, port),
            self._load(port) as load,
        ):
            load.open(BUSY)
            load.relay(64, 1, 0.1)  # what is done once, lazily, is done now
            yield _Target(process, load)

    @contextmanager
    def _load(self, port: int) -> Iterator[Load]:
        load = Load(self.tools, port, handshake_headers())
        try:
            yield load
        finally:
            load.end()

    def _relay(self, targets: Mapping[str, _Target], size: int, window: int) -> None:
        for _ in range(self.effort.turns):
            for name, target in targets.items():
                cost = target.cost(lambda load: load.relay(size, window, self.effort.relay))
                self.figures.add(f"relay/{size}/{window}", name, cost)

    def _handshakes(self, targets: Mapping[str, _Target]) -> None:
        for shakers, _ in product(SHAKERS, range(self.effort.turns)):
            for name, target in targets.items():
                cost = target.cost(partial(Load.churn, window=shakers, seconds=self.effort.handshake))
                self.figures.add(f"handshake/{shakers}", name, cost)

    def _latency(self, targets: Mapping[str, _Target]) -> None:
        with self._load(self.backend_port) as direct:
            loads = {NO_PROXY: direct, **{name: target.load for name, target in targets.items()}}
            for name, load in loads.items():
                load.open(BUSY)
                phase = load.pace(PACED_SIZE, PACED_RATE, self.effort.latency)
                self.figures.add("latency/p50", name, phase.p50)
                self.figures.add("latency/p99", name, phase.p99)

    def _open_connections(self, peer: Peer) -> None:
        """In a process of its own: memory left behind by other workloads would hide what connections take."""
        with self._target(peer) as target:
            before, seconds = target.process.memory(), self.effort.rotate
            for connections in self.effort.open:
                target.load.open(connections)
                if connections == self.effort.open[-1]:
                    time.sleep(self.effort.idle)
                    grown = target.process.memory() - before
                    self.figures.add("memory", peer.name, grown / (connections - BUSY))
                for name, among in (("idle", BUSY), ("busy", connections)):
                    cost = target.cost(partial(Load.rotate, size=64, window=BUSY, among=among, seconds=seconds))
                    self.figures.add(f"open/{name}/{connections}", peer.name, cost)


@dataclass(frozen=True, slots=True)
class _Target:
    """A running proxy with its own load generator."""

    process: Process
    load: Load

    def cost(self, phase: Callable[[Load], Phase]) -> float:
        """CPU seconds of the proxy for each round trip of `phase`."""
        before = self.process.cpu_seconds()
        done = phase(self.load)
        time.sleep(SETTLE)
        return (self.process.cpu_seconds() - before) / done.messages
