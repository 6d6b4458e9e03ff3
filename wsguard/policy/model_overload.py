"""How much a guard takes on before it turns new work away."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wsguard.policy.fields import Count, PositiveDuration, Size
from wsguard.policy.model_base import Model


class Overload(Model):
    """When new work is turned away, so that what is open goes on. Nothing of it ends an open connection."""

    max_connections: Annotated[Count | None, Field(ge=1, validate_default=True)] = None
    """Connections on the public port, stalled and idle ones too; absent, and at most: as many as descriptors allow."""
    max_memory: Size | None = None
    """Resident memory from which on requests and handshakes get 503, until it is less again; absent: any."""
    max_loop_lag: PositiveDuration | None = None
    """Lag of the event loop from which on, for a whole second, they get 503, until it is less again; absent: any."""
