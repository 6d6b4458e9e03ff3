"""The guard at a glance, for the page and for `wsguard top`: counts by policy and reason, never who.

Everything in it is an aggregate, because the page shows it without a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wsguard import __version__
from wsguard.ops.drainer import Drainer
from wsguard.ops.metrics import Metrics
from wsguard.ops.migrator import Migrator
from wsguard.ops.redact import timestamp
from wsguard.ops.views import LoadedPolicies, View, drain_view, migration_view
from wsguard.sessions.clock import Clock

_READ = {
    "connections": "connections",
    "streams": "streams",
    "handshakes": "handshakes",
    "spared": "cuts_spared",
    "closed": "connections_closed",
    "messages": "messages",
    "bytes": "transferred_bytes",
    "eventSources": "session_event_source_up",
}
_DENIED = "deny_list_entries"


@dataclass(frozen=True, slots=True)
class Overview:
    """Where an overview reads. `started_at` is seconds since the epoch."""

    metrics: Metrics
    drainer: Drainer
    migrator: Migrator
    policies: Callable[[], LoadedPolicies]
    clock: Clock
    started_at: float

    def view(self) -> View:
        """Counts since the start; who asks twice has the rates."""
        migration = dict(migration_view(self.migrator.status))
        del migration["detail"]  # which may name addresses
        loaded, read = self.policies(), self.metrics.read(*_READ.values(), _DENIED)
        return {
            "version": __version__,
            "now": timestamp(self.clock.wall()),
            "startedAt": timestamp(self.started_at),
            "revision": loaded.revision,
            "policies": [policy.name for policy in loaded.policies],
            "lastReloadFailed": loaded.last_error is not None,
            "drain": drain_view(self.drainer.status),
            "migration": migration,
            **{member: read[name] for member, name in _READ.items()},
            "denyListEntries": read[_DENIED][0]["value"],
        }
