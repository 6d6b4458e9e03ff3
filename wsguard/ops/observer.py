"""One line and one count for each decision and each end, and a word on what else the proxy notices."""

from __future__ import annotations

import logging

from wsguard.ops.log import Log, describe
from wsguard.ops.metrics import Metrics
from wsguard.ops.redact import digest, without_query
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Stream
from wsguard.sessions.identity import Identity
from wsguard.sessions.records import Decided, Delivery, Ended, Rejoined, Renewed


class Observer:
    """Tells the log and the metrics what became of handshakes, refusals and connections."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def decided(self, record: Decided) -> None:
        """A handshake was admitted or refused."""
        self._metrics.decided(record)
        if not self._log.tells_audit(_severity(record.reason)):
            return
        self._log.audit(
            "handshake",
            _severity(record.reason),
            connection_id=record.connection_id,
            policy=record.policy,
            result=record.result,
            reason=record.reason.token if record.reason else None,
            code=record.code or None,
            detail=record.detail or None,
            origin=None if record.origin is None else without_query(record.origin),
            client_ip=record.client_ip,
            scheme=record.scheme,
            host=record.host,
            path=record.path,
            **_who(record.identity),
            duration=round(record.duration, 6),
            trace_id=record.trace_id,
            request_id=record.request_id,
            stream=_stream(record.stream),
        )

    def ended(self, record: Ended) -> None:
        """An admitted connection ended, and leaves the registry in the same step."""
        self._metrics.ended(record)
        if not self._log.tells_audit(_severity(record.reason)):
            return
        self._log.audit(
            "connection_closed",
            _severity(record.reason),
            connection_id=record.connection_id,
            policy=record.policy,
            initiator=record.initiator,
            reason=record.reason.token,
            code=record.code or None,
            phase=record.phase,
            delivery=record.delivery,
            detail=record.detail or None,
            client_ip=record.client_ip,
            path=record.path,
            backend=record.backend,
            **_who(record.identity),
            duration=round(record.duration, 6),
            **record.traffic._asdict(),
            stream=_stream(record.stream),
        )

    def spared(self, connection_id: str, policy: str, reason: CloseReason, detail: str) -> None:
        """A policy that only audits would have cut this connection."""
        self._metrics.spared(policy, reason)
        self._log.audit(
            "cut_spared", connection_id=connection_id, policy=policy, reason=reason.token, detail=detail or None
        )

    def throttled(self, connection_id: str, policy: str, reason: CloseReason) -> None:
        """A client is held back."""
        self._metrics.throttled(policy, reason)
        self._log.audit("connection_throttled", connection_id=connection_id, policy=policy, reason=reason.token)

    def rejudged(self, judged: int, cut: int) -> None:
        """The policies have changed, and live connections were judged again."""
        self._log.audit("connections_rejudged", judged=judged, cut=cut)

    def held(self, connection_id: str, policy: str, backend: str) -> None:
        """A client has lost its backend, and is held."""
        self._log.event("connection_held", connection_id=connection_id, policy=policy, backend=backend)

    def not_held(self, connection_id: str, policy: str, detail: str) -> None:
        """A connection was opened that will not be held, though its policy holds."""
        self._log.event("hold_declined", connection_id=connection_id, policy=policy, detail=detail)

    def redialled(self, policy: str, result: str) -> None:
        """A backend was dialled for a client that is held, or was not for the sake of the policy."""
        self._metrics.redialled(policy, result)

    def rejoined(self, record: Rejoined) -> None:
        """A client that was held has a backend again."""
        self._log.event(
            "connection_rejoined",
            connection_id=record.connection_id,
            policy=record.policy,
            backend=record.backend,
            duration=round(record.duration, 6),
            attempts=record.attempts,
            repeated=record.repeated,
            kept=record.kept,
            lost=record.lost,
        )

    def holding(self, count: int) -> None:
        """So many clients are held now."""
        self._metrics.holding(count)

    def renewed(self, record: Renewed) -> None:
        """A newer credential of their session was shown for live connections."""
        self._metrics.renewed(record)
        self._log.event(
            "session_renewed",
            policy=record.policy,
            by=record.by,
            connections=record.connections,
            cut=record.cut or None,
            client_ip=record.client_ip,
            **_who(record.identity),
        )

    def turned_away(self, client_ip: str, status: int, detail: str) -> None:
        """A request got a plain HTTP answer of the guard's own."""
        self._metrics.turned_away(status)
        self._log.event("request_turned_away", client_ip=client_ip, status=status, detail=detail)

    def body_cut_short(self, client_ip: str, detail: str) -> None:
        """A backend's response ended before it was whole."""
        self._metrics.body_cut_short()
        self._log.event("body_cut_short", client_ip=client_ip, detail=detail)

    def lingering(self, count: int) -> None:
        """So many refused clients are awaited now."""
        self._metrics.lingering(count)

    def lingered(self, delivery: Delivery) -> None:
        """A refused client is awaited no more."""
        self._metrics.lingered(delivery)

    def lingering_exceeded(self) -> None:
        """A refusal had no Close for want of room."""
        self._metrics.lingering_exceeded()

    def fault(self, where: str, error: BaseException) -> None:
        """A bug, or something outside that nobody expected."""
        self._log.event("fault", logging.ERROR, where=where, **describe(error))


def _severity(reason: CloseReason | None) -> int:
    return logging.ERROR if reason is CloseReason.GUARD_FAULT else logging.INFO


def _stream(stream: Stream) -> str | None:
    return None if stream is Stream.WEB_SOCKET else stream.value


def _who(identity: Identity | None) -> dict[str, str | None]:
    if identity is None:
        return {}
    return {
        "provider": identity.provider,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "source": identity.source,
        "sid": digest(identity.sid) if identity.sid is not None else None,
        "jti": digest(identity.jti) if identity.jti is not None else None,
    }
