"""One count for each session event and a line for each that matters to an operator."""

from __future__ import annotations

import logging

from wsguard.ops.log import Log, describe
from wsguard.ops.metrics import Metrics
from wsguard.ops.redact import digest
from wsguard.sessions.events import SessionEnd


class EventObserver:
    """Tells the log and the metrics what became of session events."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._has_ignored = False

    def event(self, source: str, result: str) -> None:
        """An event of `source` has this result, one of those in docs/metrics.md."""
        self._metrics.session_event(source, result)

    def applied(self, source: str, event: SessionEnd, closed: int, lag: float | None) -> None:
        """An event took effect `lag` seconds after it happened; None: it was read back at the start."""
        if lag is not None:
            self._metrics.session_event_lagged(lag)
        logout = event.logout
        word = logout.word if logout.kind == "subject" else digest(logout.word)
        self._log.audit(
            "session_ended",
            logging.INFO if lag is not None else logging.DEBUG,
            source=source,
            id=event.id,
            issuer=logout.issuer,
            issued_before=logout.issued_before if logout.kind == "subject" else None,
            closed=closed,
            lag=None if lag is None else round(lag, 6),
            **{logout.kind: word},
        )

    def detected(self, policy: str, cookie: str, why: str) -> None:
        """The application's own answer shows a log-out."""
        self._log.audit("logout_detected", policy=policy, cookie=digest(cookie), why=why)

    def skipped(self, source: str, entry: str, why: str) -> None:
        """An entry of a stream is no event."""
        self._log.event("session_event_skipped", logging.WARNING, source=source, entry=entry, why=why)

    def gap(self, source: str, why: str, closed: int | None) -> None:
        """A part of a stream is gone; `closed` connections were cut for it, None: onGap is Continue."""
        action = "Continue" if closed is None else "CloseAll"
        self._log.audit("session_event_gap", logging.ERROR, source=source, why=why, on_gap=action, closed=closed)

    def source_up(self, source: str, is_up: bool, why: str) -> None:
        """A stream came back, or went away and why."""
        self._metrics.session_event_source(source, is_up)
        level = logging.INFO if is_up else logging.WARNING
        self._log.event("session_event_source", level, source=source, up=is_up, why=why or None)

    def waiting(self, source: str, count: int) -> None:
        """So many events wait to be stored now."""
        self._metrics.session_events_waiting(source, count)

    def lost(self, source: str, count: int) -> None:
        """The guard ends, and so many events were never stored."""
        self._log.event("session_events_lost", logging.ERROR, source=source, count=count)

    def counts_shared(self, source: str, is_up: bool, why: str) -> None:
        """Counts of connections are shared with the other replicas, or no more and why."""
        self._metrics.counts_shared(source, is_up)
        self._has_ignored = False
        level = logging.INFO if is_up else logging.WARNING
        self._log.event("shared_counts", level, source=source, up=is_up, why=why or None)

    def counts_told(self, source: str, result: str) -> None:
        """A message about counts of connections has this result, one of those in docs/metrics.md."""
        self._metrics.counts_told(source, result)

    def counts_ignored(self, source: str, why: str) -> None:
        """Such a message was not understood; said once, for whoever says it may say it often."""
        if not self._has_ignored:
            self._has_ignored = True
            self._log.event("shared_counts_ignored", logging.WARNING, source=source, why=why)

    def counting(self, source: str, replicas: int, left_out: int) -> None:
        """So many other replicas are heard now, and so many of the own counts are too many to be told."""
        self._metrics.counting(source, replicas, left_out)

    def fault(self, where: str, error: BaseException) -> None:
        """A bug, or something outside that nobody expected."""
        self._log.event("fault", logging.ERROR, where=where, **describe(error))
