"""The Prometheus metrics. No label has a value that a peer can make up."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import WSCloseCode
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from wsguard.ops.scrape import Scrape, Sources, add
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.records import Decided, Delivery, Ended, Renewed, Side

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
_WELL_KNOWN_CODES = frozenset(int(code) for code in WSCloseCode)


class Metrics:
    """Every metric of the guard, in a registry of its own."""

    def __init__(self, sources: Sources) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._collected = CollectorRegistry()
        self._clock = sources.clock
        self._passed = Traffic(0, 0, 0, 0)  # on connections that have ended
        self._handshakes = self._counter("handshakes", "Handshakes that were decided.", "policy", "result", "reason")
        self._handshake_duration = self._histogram(
            "handshake_duration_seconds", "From a handshake's arrival to its answer.", _SHORT
        )
        self._closed = self._counter(
            "connections_closed", "Admitted connections that ended.", "policy", "initiator", "reason", "code"
        )
        self._spared = self._counter(
            "cuts_spared", "Cuts that a policy would have made, were it not auditing only.", "policy", "reason"
        )
        self._pings = self._counter("keepalive_pings", "Pings of the guard's own.", "side")
        self._throttled = self._counter(
            "connections_throttled", "Connections whose client sent too fast, and was held back.", "policy", "reason"
        )
        self._connection_duration = self._histogram(
            "connection_duration_seconds", "How long admitted connections lived.", _LONG
        )
        self._renewals = self._counter(
            "session_renewals", "Live connections for which a newer credential was shown.", "policy", "result"
        )
        self._held = self._gauge("connections_held", "Clients that are held while their backend is away.")
        self._redials = self._counter("redials", "Redials of a backend for clients that are held.", "policy", "result")
        self._lingering = self._gauge("refusals_lingering", "Refused clients whose Close is awaited now.")
        self._lingered = self._counter(
            "refusals_lingered", "Refused clients, by what became of the Close sent to them.", "delivery"
        )
        self._lingering_exceeded = self._counter(
            "refusals_lingering_exceeded", "Refusals without a Close, because maxLingering were awaited already."
        )
        self._turned_away = self._counter(
            "requests_turned_away", "Requests that got a plain HTTP answer of the guard's own.", "status"
        )
        self._bodies_cut_short = self._counter(
            "bodies_cut_short", "Forwarded responses that the backend did not finish."
        )
        self._reloads = self._counter("policy_reloads", "Loads of the policy files.", "result")
        self._reloaded_at = self._gauge(
            "policy_last_reload_success_timestamp_seconds", "When policies were last loaded, since the epoch."
        )
        self._reload_succeeded = self._gauge(
            "policy_last_reload_successful", "0 while the policy files on disk are refused and older ones hold."
        )
        self._fetches = self._counter("jwks_fetches", "Fetches of remote key sets.", "provider", "result")
        self._asked = self._counter(
            "identity_requests", "Questions to introspection endpoints and forwardAuth services.", "provider", "result"
        )
        self._asked_duration = self._histogram(
            "identity_request_duration_seconds", "From such a question to its answer.", _SHORT
        )
        self._session_events = self._counter("session_events", "Ends of sessions that were told.", "source", "result")
        self._session_event_sources = self._gauge(
            "session_event_source_up", "1 while a stream answers and was read to its end.", "source"
        )
        self._session_events_waiting = self._gauge(
            "session_events_waiting", "Events that a stream has yet to store.", "source"
        )
        self._session_event_lag = self._histogram(
            "session_event_lag_seconds", "From the end of a session to its effect here.", _SHORT
        )
        self._counts_shared = self._gauge(
            "shared_counts_up", "1 while counts of connections are told to other replicas, and heard.", "source"
        )
        self._counts_replicas = self._gauge(
            "shared_counts_replicas", "Other replicas whose counts of connections are known.", "source"
        )
        self._counts_left_out = self._gauge(
            "shared_counts_left_out", "Counts of connections that are too many to be told.", "source"
        )
        self._counts_told = self._counter(
            "shared_counts_messages", "Messages about counts of connections.", "source", "result"
        )
        self._loop_lag = self._histogram(
            "event_loop_lag_seconds", "How much later than asked the event loop woke a sleeper.", _SHORT
        )
        self._collected.register(Scrape(sources, lambda: self._passed))
        ProcessCollector(registry=self._collected)

    def decided(self, record: Decided) -> None:
        """Count a handshake."""
        reason = record.reason.token if record.reason else ""
        exemplar = {"connection_id": record.connection_id}
        if record.trace_id is not None:
            exemplar["trace_id"] = record.trace_id
        self._handshakes.labels(record.policy or "", record.result, reason).inc(1, exemplar)
        self._handshake_duration.observe(record.duration, exemplar)

    def ended(self, record: Ended) -> None:
        """Count a connection's end. To be called in the same step in which it leaves the registry."""
        code = _code_label(record)
        exemplar = {"connection_id": record.connection_id}
        self._closed.labels(record.policy, record.initiator, record.reason.token, code).inc(1, exemplar)
        self._connection_duration.observe(record.duration)
        self._passed = add(self._passed, record.traffic)

    def renewed(self, record: Renewed) -> None:
        """Count the connections that a newer credential was shown for."""
        self._renewals.labels(record.policy, "renewed").inc(record.connections)
        self._renewals.labels(record.policy, "cut").inc(record.cut)

    def spared(self, policy: str, reason: CloseReason) -> None:
        """Count a cut that was not made."""
        self._spared.labels(policy, reason.token).inc()

    def holding(self, count: int) -> None:
        """So many clients are held now."""
        self._held.set(count)

    def redialled(self, policy: str, result: str) -> None:
        """Count a redial; `result` is one of a few words."""
        self._redials.labels(policy, result).inc()

    def pinged(self, side: Side) -> None:
        """Count a ping that was sent to a client or a backend."""
        self._pings.labels(side).inc()

    def throttled(self, policy: str, reason: CloseReason) -> None:
        """Count a connection that is held back by a limit for the first time."""
        self._throttled.labels(policy, reason.token).inc()

    def lingering(self, count: int) -> None:
        """So many refused clients are awaited now."""
        self._lingering.set(count)

    def lingered(self, delivery: Delivery) -> None:
        """Count a refused client that is awaited no more; short of `acknowledged`, closeTimeout struck."""
        self._lingered.labels(delivery).inc()

    def lingering_exceeded(self) -> None:
        """Count a refusal for which there was no room to linger."""
        self._lingering_exceeded.inc()

    def turned_away(self, status: int) -> None:
        """Count a request that was neither a handshake nor to be forwarded."""
        self._turned_away.labels(str(int(status))).inc()

    def body_cut_short(self) -> None:
        """Count a response that the backend did not finish."""
        self._bodies_cut_short.inc()

    def policies_loaded(self, is_success: bool) -> None:
        """Count a load of the policies, the first one included."""
        self._reloads.labels("success" if is_success else "failure").inc()
        self._reload_succeeded.set(is_success)
        if is_success:
            self._reloaded_at.set(self._clock.wall())

    def jwks_fetched(self, provider: str, result: str) -> None:
        """Count a fetch of a provider's keys; `result` is one of a few words."""
        self._fetches.labels(provider, result).inc()

    def identity_asked(self, provider: str, result: str, seconds: float) -> None:
        """Count a question; `result` is yes, no or unavailable."""
        self._asked.labels(provider, result).inc()
        self._asked_duration.observe(seconds)

    def session_event(self, source: str, result: str) -> None:
        """Count a session event; both are one of a few words."""
        self._session_events.labels(source, result).inc()

    def session_event_source(self, source: str, is_up: bool) -> None:
        """A stream came back or went away."""
        self._session_event_sources.labels(source).set(is_up)

    def session_events_waiting(self, source: str, count: int) -> None:
        """So many events wait for a stream."""
        self._session_events_waiting.labels(source).set(count)

    def session_event_lagged(self, seconds: float) -> None:
        """An event took effect this long after it happened."""
        self._session_event_lag.observe(seconds)

    def counts_shared(self, source: str, is_up: bool) -> None:
        """Counts of connections are shared with other replicas, or no more."""
        self._counts_shared.labels(source).set(is_up)

    def counts_told(self, source: str, result: str) -> None:
        """Count a message about them; both are one of a few words."""
        self._counts_told.labels(source, result).inc()

    def counting(self, source: str, replicas: int, left_out: int) -> None:
        """So many other replicas are heard, and so many counts of this one are not told."""
        self._counts_replicas.labels(source).set(replicas)
        self._counts_left_out.labels(source).set(left_out)

    def loop_lagged(self, seconds: float) -> None:
        """Take a sample of the event loop's lag."""
        self._loop_lag.observe(seconds)

    def read(self, *names: str) -> dict[str, list[dict[str, str | float]]]:
        """The samples of counters and gauges, all as of one moment, by their names without `wsguard_`.

        A sample is its labels and its `value`.
        """
        rows: dict[str, list[dict[str, str | float]]] = {name: [] for name in names}
        for metric in self._collected.collect():
            name = metric.name.removeprefix("wsguard_")
            if name in rows:
                rows[name] += [{**sample.labels, "value": sample.value} for sample in metric.samples]
        return rows

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything and its media type, in the text format that `accept` asks for: OpenMetrics has exemplars."""
        encode, media_type = choose_encoder(accept)
        return encode(self._collected), media_type

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"wsguard_{name}", help_text, labels, registry=self._collected)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"wsguard_{name}", help_text, labels, registry=self._collected)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"wsguard_{name}", help_text, buckets=buckets, registry=self._collected)


def _code_label(record: Ended) -> str:
    """The close code; of codes that a peer chose freely only the thousand, or there were 65,536."""
    if record.initiator == "guard" or record.code == 0 or record.code in _WELL_KNOWN_CODES:
        return str(record.code)
    return f"{record.code // 1000}xxx"
