"""What the control API shows: connections, drains and loaded policies as JSON objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wsguard.ops.departures import Progress
from wsguard.ops.drainer import DrainStatus
from wsguard.ops.migration import MigrationStatus
from wsguard.ops.redact import digest, printable, timestamp, without_query
from wsguard.sessions.connection import Connection

View = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy in force, and where it is written."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class LoadedPolicies:
    """What is loaded. Times are seconds since the epoch; `last_error` is that of the latest reload, if any."""

    policies: tuple[LoadedPolicy, ...]
    revision: str
    loaded_at: float
    last_error: str | None = None
    last_error_at: float | None = None


def connection_view(connection: Connection) -> View:
    """One connection. A sid and a jti only as digests; no query in `origin`; control characters escaped."""
    identity, traffic = connection.identity, connection.link.traffic()
    return {
        "id": connection.id,
        "stream": connection.stream.value,
        "policy": connection.policy,
        "issuer": printable(identity.issuer) if identity else None,
        "subject": printable(identity.subject) if identity else None,
        "sid": digest(identity.sid) if identity and identity.sid is not None else None,
        "jti": digest(identity.jti) if identity and identity.jti is not None else None,
        "origin": None if connection.origin is None else printable(without_query(connection.origin)),
        "clientIP": connection.client_ip,
        "path": printable(connection.path),
        "backend": connection.backend,
        "openedAt": timestamp(connection.opened_at),
        "expiresAt": _moment(connection.expires_at),
        "messages": {
            "clientToBackend": traffic.messages_from_client,
            "backendToClient": traffic.messages_from_backend,
        },
        "bytes": {
            "clientToBackend": traffic.bytes_from_client,
            "backendToClient": traffic.bytes_from_backend,
        },
        "state": connection.link.state,
    }


def drain_view(status: DrainStatus) -> View:
    """A drain; `window` and `eta` are spelt as durations are asked for, `rate` is closes in a second."""
    return {
        "state": status.state.value,
        "window": None if status.window is None else _duration(status.window),
        "startedAt": _moment(status.started_at),
        **_progress_view(status.progress),
    }


def migration_view(status: MigrationStatus) -> View:
    """A migration, and what is at each backend: live connections, handshakes and plain requests under way."""
    plan = status.plan
    return {
        "state": status.state.value,
        "from": None if plan is None else plan.source,
        "to": None if plan is None else plan.target,
        "window": None if plan is None else _duration(plan.window),
        "startedAt": None if plan is None else timestamp(plan.started_at),
        "detail": None if status.detail is None else printable(status.detail),
        **_progress_view(status.progress),
        "backends": [
            {
                "name": one.name,
                "active": one.is_active,
                "connections": one.connections,
                "handshakes": one.handshakes,
                "requests": one.requests,
            }
            for one in status.backends
        ],
    }


def policies_view(loaded: LoadedPolicies) -> View:
    """What is loaded, from which file, since when, and the last reload's error."""
    return {
        "revision": loaded.revision,
        "loadedAt": timestamp(loaded.loaded_at),
        "policies": [{"name": one.name, "file": one.file, "line": one.line} for one in loaded.policies],
        "lastError": None if loaded.last_error is None else printable(loaded.last_error),
        "lastErrorAt": _moment(loaded.last_error_at),
    }


def _progress_view(progress: Progress) -> View:
    return {
        "total": progress.total,
        "closed": progress.closed,
        "hinted": progress.hinted,
        "remaining": progress.remaining,
        "rate": round(progress.rate, 1),
        "eta": None if progress.eta is None else _duration(math.ceil(progress.eta)),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


def _duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
