"""The parts of ops/, wired to connections with nothing behind them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from random import Random
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.sessions.fakes import FakeLink, connection
from wsguard.ops.control import Control
from wsguard.ops.drainer import Drainer
from wsguard.ops.health import Health
from wsguard.ops.log import Format, Log
from wsguard.ops.log_writer import LineWriter
from wsguard.ops.metrics import Metrics
from wsguard.ops.migration_api import MigrationApi
from wsguard.ops.migrator import Migrator
from wsguard.ops.overview import Overview
from wsguard.ops.scrape import Sources
from wsguard.ops.views import LoadedPolicies, LoadedPolicy
from wsguard.policy.model import Shutdown
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity
from wsguard.sessions.logout import Logout, log_out
from wsguard.sessions.registry import Registry


class SetClock:
    """A wall clock that stands where it is put; the monotonic one runs."""

    def __init__(self, now: float = 1_000_000.5) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return time.monotonic()


class LogFile:
    """A log whose lines can be read back."""

    def __init__(self, form: Format = "json", level: str = "debug") -> None:
        self._read, self._write = os.pipe()
        self.log = Log(LineWriter(self._write), level, form)

    def end(self) -> str:
        """Close the log; everything it said."""
        self.log.close()
        os.close(self._write)
        with open(self._read, encoding="utf-8") as lines:
            return lines.read()

    def events(self) -> list[dict[str, Any]]:
        """Close the log; every line, read as JSON."""
        return [json.loads(line) for line in self.end().splitlines()]


class Scraped:
    """A scrape, read as Prometheus reads it."""

    def __init__(self, metrics: Metrics) -> None:
        families = text_string_to_metric_families(metrics.text()[0].decode())
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float | None:
        for sample in self.samples:
            if sample.name == f"wsguard_{name}" and sample.labels == labels:
                return sample.value
        return None


@dataclass
class LeavingLink(FakeLink):
    """Leaves the registry as soon as it is cut, as a connection does once its peers have answered."""

    registry: Registry | None = None
    id: str = ""
    cut_at: float | None = None

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        super().cut(reason, detail)
        self.cut_at = time.monotonic()
        if self.registry is not None:
            self.registry.remove(self.id)


class FakeBackends:
    """Backends that answer what the test sets: `away` are sentences by name."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.active_name = names[0]
        self.away: dict[str, str] = {}
        self.doubts: dict[str, str] = {}
        self.under_way = {name: [0, 0] for name in names}  # handshakes, requests
        self.dialled: list[str] = []
        self.serving: set[str] = set()
        self.suspects: set[str] = set()

    def activate(self, name: str) -> None:
        self.active_name = name

    def handshakes(self, name: str) -> int:
        return self.under_way[name][0]

    def requests(self, name: str) -> int:
        return self.under_way[name][1]

    def doubt(self, name: str) -> str | None:
        return self.doubts.get(name)

    def has_served(self, name: str, seconds: float) -> bool:
        return name in self.serving

    def is_unreachable(self, name: str) -> bool:
        return name in self.suspects

    async def dial_problem(self, name: str) -> str | None:
        self.dialled.append(name)
        await asyncio.sleep(0)
        return self.away.get(name)


class Rig:
    """Everything that a test of ops/ looks at."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.registry = Registry()
        self.denylist = DenyList()
        self.health = Health()
        self.issuers = ["https://idp.test"]
        self.stores = True
        self.shutdown = Shutdown()
        self.loaded = LoadedPolicies((LoadedPolicy("chat", "policies/chat.yaml", 3),), "0a1b2c", loaded_at=1_000.0)
        self.lines = LogFile()
        self.log = self.lines.log
        self.sent_away = 0
        self.drainer = Drainer(self.registry, self.clock, Random(1), self.log, self.send_away, lambda: self.shutdown)
        self.backends = FakeBackends("default", "green")
        self.migrator = Migrator(
            self.registry, self.backends, self.drainer, self.clock, Random(1), self.log, lambda: self.shutdown
        )
        self.metrics = Metrics(
            Sources(
                self.registry,
                self.denylist,
                self.drainer,
                self.clock,
                lambda: self.log.dropped,
                lambda: 0,
                lambda: 3,
                self.migrator,
            )
        )
        self.control = Control(
            registry=self.registry,
            denylist=self.denylist,
            drainer=self.drainer,
            clock=self.clock,
            log=self.log,
            log_out=self.log_out,
            policies=lambda: self.loaded,
            issuers=lambda: self.issuers,
            drain_window=lambda: 20.0,
            overview=Overview(self.metrics, self.drainer, self.migrator, lambda: self.loaded, self.clock, 1_000.0),
            migration=MigrationApi(self.migrator, lambda: 20.0),
        )

    def send_away(self) -> None:
        """As the lobby does with those who wait in it."""
        self.sent_away += 1

    async def log_out(self, logout: Logout) -> tuple[int, bool]:
        """As the bus does without a stream, or with one that is away."""
        return log_out(logout, self.registry, self.denylist, self.clock.wall()), self.stores

    def connect(self, connection_id: str, who: Identity | None = None, **what: Any) -> Connection:
        """A connection that stays in the registry when it is cut."""
        one = connection(connection_id, who, **what)
        self.registry.add(one)
        return one

    def connect_leaving(self, count: int) -> list[LeavingLink]:
        """Connections that end when they are cut."""
        links = [LeavingLink(registry=self.registry, id=f"c{number:04}") for number in range(count)]
        for link in links:
            self.registry.add(connection(link.id, link=link))
        return links

    def events(self, name: str) -> list[dict[str, Any]]:
        """Close the log; the events called `name`."""
        return [event for event in self.lines.events() if event["event"] == name]
