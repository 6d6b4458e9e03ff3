"""The `limits` part of a WebSocketPolicy: how much of anything a client may have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wsguard.policy.fields import PositiveSize, token
from wsguard.policy.model_base import Model, unique
from wsguard.policy.model_caps import Compression, Connections, Extensions, Handshakes, WindowBits
from wsguard.policy.model_flow import Bandwidth, Messages, MessageTypes, SlowConsumer


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    unique(value, "subprotocols")
    return value


class Limits(Model):
    """Bounds; what is absent is not bounded."""

    connections: Connections | None = None
    """How many connections may be open at once."""
    handshakes: Handshakes | None = None
    """How often handshakes may come."""
    compression: Compression = Compression.ALLOW
    """Deny takes permessage-deflate out of what the backend is offered."""
    compression_window_bits: WindowBits = None
    """The largest window of permessage-deflate, either way, as a power of two; absent: whatever the two agree on."""
    extensions: Extensions = Field(default=(), min_length=1)
    """The extensions that may be negotiated; the backend is offered no other. Absent: any."""
    subprotocols: Annotated[
        tuple[Annotated[str, *token("the name of a subprotocol")], ...], AfterValidator(_distinct)
    ] = Field(default=(), min_length=1)
    """The subprotocols that clients may speak; the backend is offered no other. Absent: any."""
    messages: Messages | None = None
    """How often a client may send."""
    bandwidth: Bandwidth | None = None
    """How many bytes a client may send."""
    max_message_size: PositiveSize | None = None
    """How long a client's message may be across its fragments: bytes of payload as sent, be they compressed or not."""
    message_types: MessageTypes = Field(default=(), min_length=1)
    """Whether clients may send Text, Binary or both. Absent: both."""
    slow_consumer: SlowConsumer | None = None
    """When a client or a backend that does not read is cut. Absent: it is waited for."""
