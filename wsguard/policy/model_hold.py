"""The part of a WebSocketPolicy on what becomes of a client whose backend is lost."""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, Field

from wsguard.policy.fields import Count, PositiveDuration, Size, Text, duration, size
from wsguard.policy.model_base import Model, read_as, shorten, unique
from wsguard.policy.model_extraction import keys
from wsguard.policy.model_session import own_message
from wsguard.protocol.bearing import STATEFUL, HeldProtocol

MOST_MESSAGES = 1000
MAX_BUFFER = 16 << 20


class BackendLoss(Enum):
    """What becomes of a client whose backend is lost."""

    CLOSE = "Close"
    HOLD = "Hold"


def _protocol(text: str) -> HeldProtocol:
    bearing = [protocol.value for protocol in HeldProtocol]
    if text in bearing:
        return HeldProtocol(text)
    known = " or ".join(bearing)
    if (name := text.lower().removesuffix("5").replace("socketio", "socket.io")) in STATEFUL:
        raise ValueError(f"{shorten(text)} cannot be held: {STATEFUL[name]}; expected {known}")
    near = get_close_matches(text[:60], bearing, n=1)
    hint = f"; did you mean {near[0]}?" if near else ", for nothing else is known to bear another backend"
    raise ValueError(f'expected {known}, found "{shorten(text)}"{hint}')


def _some(value: int) -> int:
    if not 0 < value <= MOST_MESSAGES:
        raise ValueError(f"expected a number from 1 to {MOST_MESSAGES}, found {value}")
    return value


def _bounded(value: int) -> int:
    if not 0 < value <= MAX_BUFFER:
        raise ValueError("expected a size from 1Ki to 16Mi")
    return value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    unique(values, "values")
    return values


class Replay(Model):
    """Which of the client's messages are said again to the next backend: only such as are safe to repeat."""

    messages: Annotated[Count, AfterValidator(_some)]
    """`custom`: how many first messages are looked at. `graphql-ws`: who has more subscriptions is not held."""
    json_path: Annotated[Text, AfterValidator(keys)] | None = None
    """`custom`: the member of a message, a JSON object, that tells what it is; dots lead into nested objects."""
    values: Annotated[tuple[Text, ...], AfterValidator(_distinct)] = Field(default=(), min_length=1, max_length=100)
    """`custom`: what stands there in a message that is safe to repeat. No other is repeated."""


class Hold(Model):
    """How a client is held while its backend is away."""

    protocol: Annotated[
        HeldProtocol, *read_as(HeldProtocol, _protocol, "a protocol", enum=[each.value for each in HeldProtocol])
    ]
    """What is spoken: `custom`, an application's own, or `graphql-ws`. No other protocol is held."""
    hint: Annotated[str, AfterValidator(own_message)] | None = None
    """`custom`, required: the text message that tells the client that another backend serves it now."""
    buffer: Annotated[Size, AfterValidator(_bounded)] = size("256Ki")
    """Bytes of the client's messages that are kept meanwhile; beyond it the client is read no further. At most 16Mi."""
    give_up_after: PositiveDuration = duration("30s")
    """How long a backend is looked for, before the client is closed with backend-lost."""
    replay: Replay | None = None
    """What is said again to the next backend; absent: nothing is."""
