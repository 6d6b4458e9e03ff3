"""The parts of a WebSocketPolicy on how long a connection lives and how a client is told no."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from wsguard.policy.fields import Count, Duration, PositiveDuration, duration
from wsguard.policy.model_base import Model, read_as, shorten
from wsguard.policy.model_logout import LogoutDetection
from wsguard.protocol.profiles import Profile
from wsguard.protocol.reasons import REASON_BY_TOKEN, Advice, CloseReason, is_sendable


class Framing(Enum):
    """What a frame header must keep to, to be passed on."""

    STRICT = "Strict"
    TRANSPARENT = "Transparent"


class Enforcement(Enum):
    """Whether a refusal refuses, or is only recorded."""

    ENFORCE = "Enforce"
    AUDIT = "Audit"


class RejectionMode(Enum):
    """How a client is refused."""

    ACCEPT_THEN_CLOSE = "AcceptThenClose"
    HTTP_STATUS = "HTTPStatus"


class Detail(Enum):
    """How much a close reason says."""

    EXACT = "Exact"
    COARSE = "Coarse"


class OnReload(Enum):
    """What becomes of live connections when policies change."""

    KEEP = "Keep"
    REJUDGE = "Rejudge"


class Renewal(Enum):
    """How a connection may go on by a newer credential of its session."""

    OFF = "Off"
    EXPLICIT = "Explicit"
    PASSIVE = "Passive"


MAX_HINT = 4096
"""Bytes of a message of the guard's own."""

_SENT: list[JsonValue] = [reason.token for reason in CloseReason if reason.advice is not Advice.NOTHING]


def _reason(text: str) -> CloseReason:
    reason = REASON_BY_TOKEN.get(text)
    if reason is None:
        near = get_close_matches(text[:60], REASON_BY_TOKEN, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f'"{shorten(text)}" is no close reason{hint}')
    if reason.advice is Advice.NOTHING:
        raise ValueError(f"{text} is recorded and never sent, so it has no code")
    return reason


Token = Annotated[CloseReason, *read_as(CloseReason, _reason, "a close reason such as session-expired")]


def sendable(value: int) -> int:
    """A code that may stand in a Close frame; raises ValueError for any other."""
    if not is_sendable(value):
        raise ValueError(f"expected a close code that may be sent: 1000-1003, 1007-1014 or 3000-4999, found {value}")
    return value


def own_message(text: str) -> str:
    """A message of the guard's own; raises ValueError for one that is empty or long."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_HINT:
        raise ValueError(f"expected 1 to {MAX_HINT} bytes of text, found {size}")
    return text


class ExpiryHint(Model):
    """A text message of the guard's own that tells a client to renew."""

    message: Annotated[str, AfterValidator(own_message)]
    """What the client is sent, as it stands."""
    before: PositiveDuration = duration("30s")
    """How long before the connection would be cut, and at the earliest when half of its time has passed."""


class Session(Model):
    """How long a connection lives."""

    max_connection_duration: PositiveDuration = duration("24h")
    """The age at which a connection is cut, whatever its token says."""
    idle_timeout: PositiveDuration | None = None
    """How long a connection may go without a data message; absent: any time."""
    clock_skew: Duration = duration("30s")
    """How far the clocks of issuer and guard may differ; a connection is cut at `exp` plus this."""
    revalidate_every: PositiveDuration | None = None
    """How often `introspection` and `forwardAuth` are asked again about live connections; absent: never."""
    revalidate_grace: Duration | None = None
    """How long connections are kept beyond that while no answer comes; absent: as long as `revalidateEvery`."""
    renewal: Renewal = Renewal.EXPLICIT
    """By which newer token of its session a connection may go on: none, one shown to `/.wsguard/renew`, any seen."""
    expiry_hint: ExpiryHint | None = None
    """Sent to the client once before its credential expires; absent: nothing is."""
    on_reload: OnReload = OnReload.KEEP
    """What becomes of live connections when policies change: Keep, or Rejudge by the new ones."""
    logout_detection: LogoutDetection | None = None
    """The application's own answers, watched for log-outs; absent: they are not."""

    @property
    def watched_cookies(self) -> tuple[str, ...]:
        """The names of the cookies whose end is the session's end."""
        return self.logout_detection.cookies if self.logout_detection is not None else ()


class Rejection(Model):
    """How a client is told no."""

    mode: RejectionMode = RejectionMode.ACCEPT_THEN_CLOSE
    """AcceptThenClose (the handshake is answered and a close code says why) or HTTPStatus."""
    foreign_origin: RejectionMode = RejectionMode.ACCEPT_THEN_CLOSE
    """The same for a page that may not connect."""
    detail: Detail = Detail.EXACT
    """Exact: the close reason names the check that failed. Coarse: one word a code."""
    profile: Profile = Profile.DEFAULT
    """The client library whose close codes are spoken."""
    codes: Mapping[Token, Annotated[Count, AfterValidator(sendable)]] = Field(
        default={}, json_schema_extra={"propertyNames": {"enum": _SENT}}
    )
    """Close codes by reason, before the profile's."""
    close_timeout: PositiveDuration = duration("2s")
    """How long the client may take to answer a Close."""
    max_lingering: Count = Field(default=500, ge=0)
    """How many refused clients may linger; beyond it a refusal is plain HTTP."""
