"""The `limits` part of a WebSocketPolicy: how much of anything a client may have."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from wsguard.policy.fields import token
from wsguard.policy.model_base import Model, unique


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    unique(value, "subprotocols")
    return value


class Limits(Model):
    """Bounds; what is absent is not bounded."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset(
        {"connections", "handshakes", "messages", "maxMessageSize", "compression", "slowConsumer"}
    )

    subprotocols: Annotated[
        tuple[Annotated[str, *token("the name of a subprotocol")], ...], AfterValidator(_distinct)
    ] = Field(default=(), min_length=1)
    """The subprotocols that clients may speak; the backend is offered no other. Absent: any."""
