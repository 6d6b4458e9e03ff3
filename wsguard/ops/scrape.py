"""The metrics that are read when they are asked for: nothing is counted per frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wsguard import __version__
from wsguard.ops.drainer import Drainer
from wsguard.ops.migration import MigrationState
from wsguard.ops.migrator import Migrator
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Stream, Traffic
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.overload import Cause, Overload
from wsguard.sessions.registry import Registry


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a scrape reads. `log_dropped` gives the log lines lost so far, `awaited` how many clients that have a 101
    wait for their first message to be judged, `tasks` how many tasks the event loop has.
    """

    registry: Registry
    denylist: DenyList
    drainer: Drainer
    clock: Clock
    log_dropped: Callable[[], int]
    awaited: Callable[[], int]
    tasks: Callable[[], int]
    migrator: Migrator
    overload: Overload = field(default_factory=Overload)


class Scrape(Collector):
    """Gauges of what lives, and totals of what has passed: `passed` on connections that ended, and the rest."""

    def __init__(self, sources: Sources, passed: Callable[[], Traffic]) -> None:
        self._sources = sources
        self._passed = passed
        self._policies: set[str] = set()  # a policy whose last connection left reads 0, and does not vanish

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        yield self._connections()
        yield self._streams()
        yield from self._traffic()
        yield from self._drain()
        yield from self._migration()
        yield from self._deny_list()
        yield from self._overload()
        help_text = "Clients that were answered, and whose first message is awaited or being judged."
        yield _gauge("first_messages_awaited", help_text, self._sources.awaited())
        yield _gauge("event_loop_tasks", "Tasks of the event loop: waiting, for the most part.", self._sources.tasks())
        lost = self._sources.log_dropped()
        yield CounterMetricFamily("wsguard_log_lines_dropped", "Log lines lost, as nobody read them.", lost)
        build = GaugeMetricFamily("wsguard_build_info", "The version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build

    def _connections(self) -> Metric:
        counts = self._sources.registry.count_by_policy()
        self._policies |= counts.keys()
        gauge = GaugeMetricFamily("wsguard_connections", "Admitted connections that live.", labels=["policy"])
        for policy in sorted(self._policies):
            gauge.add_metric([policy], counts.get(policy, 0))
        return gauge

    def _streams(self) -> Metric:
        counts = Counter(connection.stream for connection in self._sources.registry)
        help_text = "Admitted connections that live, by what they are."
        gauge = GaugeMetricFamily("wsguard_streams", help_text, labels=["stream"])
        for stream in Stream:
            gauge.add_metric([stream.value], counts[stream])
        return gauge

    def _traffic(self) -> Iterator[Metric]:
        total = self._passed()
        for connection in self._sources.registry:
            total = add(total, connection.link.traffic())
        messages = CounterMetricFamily("wsguard_messages", "Data messages forwarded.", labels=["direction"])
        messages.add_metric(["client_to_backend"], total.messages_from_client)
        messages.add_metric(["backend_to_client"], total.messages_from_backend)
        yield messages
        help_text = "Bytes forwarded after the handshake."
        transferred = CounterMetricFamily("wsguard_transferred_bytes", help_text, labels=["direction"])
        transferred.add_metric(["client_to_backend"], total.bytes_from_client)
        transferred.add_metric(["backend_to_client"], total.bytes_from_backend)
        yield transferred

    def _drain(self) -> Iterator[Metric]:
        drainer = self._sources.drainer
        yield _gauge("draining", "1 from a drain's trigger on.", drainer.is_draining)
        done = drainer.status.progress
        remaining = done.remaining if drainer.is_draining else 0
        yield _gauge("drain_connections_remaining", "Connections that a drain has yet to end.", remaining)
        yield _gauge("drain_connections_closed", "Connections of the drain that have ended.", done.closed)
        yield _gauge("drain_connections_hinted", "Connections that were asked to reconnect first.", done.hinted)
        yield _gauge("drain_eta_seconds", "Seconds until the drain's last close is due.", done.eta or 0)

    def _migration(self) -> Iterator[Metric]:
        migrator = self._sources.migrator
        status = migrator.status
        names = ("active", "connections", "handshakes", "requests")
        texts = (
            "1 for the backend that new connections go to.",
            "Admitted connections that live, by backend.",
            "Handshakes with a backend that are under way.",
            "Forwarded requests under way, streams of events among them.",
        )
        gauges = [
            GaugeMetricFamily(f"wsguard_backend_{name}", text, labels=["backend"])
            for name, text in zip(names, texts, strict=True)
        ]
        for one in status.backends:
            values = (one.is_active, one.connections, one.handshakes, one.requests)
            for gauge, value in zip(gauges, values, strict=True):
                gauge.add_metric([one.name], value)
        yield from gauges
        is_paused = status.state is MigrationState.PAUSED
        remaining = status.progress.remaining if migrator.is_under_way else 0
        yield _gauge("migrating", "1 from a migration's trigger to its end.", migrator.is_under_way)
        yield _gauge("migration_paused", "1 while its target is away, or the guard drains.", is_paused)
        yield _gauge("migration_connections_remaining", "Connections that a migration has yet to end.", remaining)

    def _overload(self) -> Iterator[Metric]:
        overload = self._sources.overload
        now = GaugeMetricFamily("wsguard_overloaded", "1 while new work is turned away for it.", labels=["cause"])
        help_text = "Requests and connections that were turned away unread."
        refused = CounterMetricFamily("wsguard_overload_refusals", help_text, labels=["cause"])
        for cause in Cause:
            now.add_metric([cause.value], cause in overload.causes)
            refused.add_metric([cause.value], overload.refused[cause])
        yield from (now, refused)

    def _deny_list(self) -> Iterator[Metric]:
        denylist, now = self._sources.denylist, self._sources.clock.wall()
        yield _gauge("deny_list_entries", "Logouts that are remembered.", len(denylist))
        help_text = "1 while a logout could not be remembered, and tokens are refused."
        yield _gauge("deny_list_overflowed", help_text, denylist.overflowed(now))


def add(first: Traffic, second: Traffic) -> Traffic:
    """The sum, member by member."""
    return Traffic(*(a + b for a, b in zip(first, second, strict=True)))


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"wsguard_{name}", help_text, value)
