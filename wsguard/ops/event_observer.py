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

    def fault(self, where: str, error: BaseException) -> None:
        """A bug, or something outside that nobody expected."""
        self._log.event("fault", logging.ERROR, where=where, **describe(error))
