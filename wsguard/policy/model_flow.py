"""The parts of `limits` on what flows once a connection is open."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator

from wsguard.policy.fields import PositiveDuration, PositiveSize
from wsguard.policy.model_base import Model
from wsguard.policy.model_rate import ByteRate, Rate
from wsguard.protocol.frames import Opcode


class OnExceed(Enum):
    """What becomes of a client that sends faster than it may."""

    CLOSE = "Close"
    THROTTLE = "Throttle"


class MessageType(Enum):
    """What a message is made of, as its first frame says (RFC 6455 §5.6)."""

    TEXT = "Text"
    BINARY = "Binary"

    @property
    def opcode(self) -> Opcode:
        """That of the first frame."""
        return Opcode.TEXT if self is MessageType.TEXT else Opcode.BINARY


class Messages(Model):
    """How often a client may send. Each frame counts: fragments, pings and pongs too, a Close never."""

    per_connection: Rate
    """Of each connection."""
    on_exceed: OnExceed = OnExceed.CLOSE
    """Close (`message-rate`), or Throttle: what comes too fast is read later, and TCP holds the client back."""


class Bandwidth(Model):
    """How many bytes a client may send, frame headers included."""

    per_connection: ByteRate
    """Of each connection."""
    on_exceed: OnExceed = OnExceed.CLOSE
    """Close (`bandwidth`), or Throttle: what comes too fast is read later, and TCP holds the client back."""


class SlowConsumer(Model):
    """A client or a backend that does not read what it is sent, so that the guard has to keep it."""

    max_pause: PositiveDuration | None = None
    """How long it may keep the other side waiting before it is cut (`slow-consumer`); absent: TCP bears 5 minutes."""
    buffer_limit: PositiveSize | None = None
    """How many bytes may be kept for it for more than a second before the same happens; absent: as many as are kept."""


def _distinct(value: tuple[MessageType, ...]) -> tuple[MessageType, ...]:
    if any(count > 1 for count in Counter(value).values()):
        raise ValueError("expected each type once")
    return value


MessageTypes = Annotated[tuple[MessageType, ...], AfterValidator(_distinct)]
