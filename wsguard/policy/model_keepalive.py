"""The `keepAlive` part of a WebSocketPolicy: who is pinged, and who is taken for dead."""

from __future__ import annotations

from wsguard.policy.fields import Duration, PositiveDuration, duration
from wsguard.policy.model_base import Model


class KeepAlive(Model):
    """Pings of the guard's own, which neither the application nor its client gets to see."""

    client_ping_interval: Duration = duration("0s")
    """A client that has sent nothing for so long is pinged; 0s: never."""
    backend_ping_interval: Duration = duration("0s")
    """The same for the backend."""
    timeout: PositiveDuration = duration("20s")
    """How long after a ping a side may go on to send nothing before it is taken for dead."""
