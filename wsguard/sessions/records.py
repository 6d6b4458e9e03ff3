"""What the guard says of a connection: once when it decided, once when the connection ended."""

from __future__ import annotations

from typing import Literal, NamedTuple

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Stream, Traffic
from wsguard.sessions.identity import Identity

Side = Literal["client", "backend"]
Result = Literal["admitted", "refused", "audited"]
Initiator = Literal["client", "backend", "guard"]
Delivery = Literal["acknowledged", "sent", "undelivered", "none"]
RenewedBy = Literal["renew", "handshake", "forwarded"]


class Decided(NamedTuple):
    """A handshake's outcome. `audited`: refused by policy, but let through because the policy only audits.

    `code` is the close code sent with a refusal (0: none was). `duration` is seconds from the request's arrival to the
    answer. `detail` is a sentence for the operator; it carries no secret. `scheme` is None where it cannot be known;
    `path` has no query. `trace_id` (W3C Trace Context) and `request_id` are of the trace and the request that the
    handshake is part of, as far as anyone said.
    """

    connection_id: str
    policy: str | None
    result: Result
    reason: CloseReason | None
    code: int
    detail: str
    origin: str | None
    client_ip: str
    scheme: str | None
    host: str
    path: str
    identity: Identity | None
    duration: float
    trace_id: str | None = None
    request_id: str | None = None
    stream: Stream = Stream.WEB_SOCKET


class Ended(NamedTuple):
    """How an admitted connection ended: who began it, why, and in which phase it struck first.

    `code` is the close code on the wire (the peer's own where it closed; 0: none). `delivery` says what became of the
    Close towards the client: `acknowledged` (its reply came), `sent` (handed to the network), `undelivered` (it never
    left the guard), `none` (none was due). `duration` is seconds.
    """

    connection_id: str
    policy: str
    initiator: Initiator
    reason: CloseReason
    code: int
    phase: str
    delivery: Delivery
    detail: str
    identity: Identity | None
    client_ip: str
    path: str
    duration: float
    traffic: Traffic
    backend: str
    stream: Stream = Stream.WEB_SOCKET


class Renewed(NamedTuple):
    """A newer credential was shown: `connections` live on by it, `cut` may not, by the rules of their policy.

    `by` says how it was shown: to `/.wsguard/renew`, in a handshake, or in a forwarded request.
    """

    policy: str
    by: RenewedBy
    connections: int
    cut: int
    identity: Identity | None
    client_ip: str


class Rejoined(NamedTuple):
    """A client that was held for `duration` seconds has a backend again, after so many `attempts` to dial one.

    To that `repeated` messages were said once more, and `kept` ones for the first time; `lost` is 1 where the backend
    before it went while a message of the client's was under way.
    """

    connection_id: str
    policy: str
    backend: str
    duration: float
    attempts: int
    repeated: int
    kept: int
    lost: int
