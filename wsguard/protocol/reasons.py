"""Every way a connection can end, in one place.

A close reason is the same word in the Close frame, the log line, the metric label and the docs. No numeric close
code is written anywhere else: to add an ending, add a member here, and run `make docs` (the table in
docs/architecture.md is generated from this file and a test fails when it is stale).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Advice(Enum):
    """What the client should do after the close."""

    LOG_IN = "log in"
    GIVE_UP = "give up"
    BACK_OFF = "back off"
    RECONNECT = "reconnect after retry-after"
    RECONNECT_WHEN_NEEDED = "reconnect when needed"
    AS_STATUS_SAYS = "as the status says"
    NOTHING = "recorded, not sent"

    @property
    def wants_return(self) -> bool:
        """True where the client is asked to come back, so that the close says when (`retry-after=`)."""
        return self in (Advice.BACK_OFF, Advice.RECONNECT)


@dataclass(frozen=True, slots=True)
class _Row:
    token: str
    code: int
    advice: Advice


class CloseReason(Enum):
    """One ending: `token` (the word), `code` (RFC 6455 §7.4, default profile) and `advice`.

    Codes are shared on purpose where a prober must not learn which check failed. `code` is 0 where nothing is sent.
    """

    # Judged at the door, before any credential is looked at.
    ORIGIN_DENIED = _Row("origin-denied", 4403, Advice.GIVE_UP)
    HOST_DENIED = _Row("host-denied", 4403, Advice.GIVE_UP)
    HANDSHAKE_TOKEN_INVALID = _Row("handshake-token-invalid", 4403, Advice.GIVE_UP)
    NO_POLICY = _Row("no-policy", 4404, Advice.GIVE_UP)
    # Judged at the door, from the credential.
    CREDENTIAL_MISSING = _Row("credential-missing", 4401, Advice.LOG_IN)
    CREDENTIAL_INVALID = _Row("credential-invalid", 4401, Advice.LOG_IN)
    CREDENTIAL_EXPIRED = _Row("credential-expired", 4401, Advice.LOG_IN)
    NOT_AUTHORIZED = _Row("not-authorized", 4403, Advice.GIVE_UP)
    SUBPROTOCOL_DENIED = _Row("subprotocol-denied", 4406, Advice.GIVE_UP)
    FIRST_MESSAGE_TIMEOUT = _Row("first-message-timeout", 4408, Advice.BACK_OFF)
    TOO_MANY_CONNECTIONS = _Row("too-many-connections", 4429, Advice.BACK_OFF)
    HANDSHAKE_RATE = _Row("handshake-rate", 4429, Advice.BACK_OFF)
    # What became of the backend.
    BACKEND_REFUSED = _Row("backend-refused", 4000, Advice.AS_STATUS_SAYS)  # + the status; a redirect: 4401
    BACKEND_UNREACHABLE = _Row("backend-unreachable", 4502, Advice.BACK_OFF)
    BACKEND_INVALID = _Row("backend-invalid", 4502, Advice.BACK_OFF)
    BACKEND_TIMEOUT = _Row("backend-timeout", 4504, Advice.BACK_OFF)
    BACKEND_LOST = _Row("backend-lost", 1014, Advice.BACK_OFF)
    # The guard could not tell: it fails closed.
    GUARD_FAULT = _Row("guard-fault", 1011, Advice.BACK_OFF)
    IDENTITY_UNAVAILABLE = _Row("identity-unavailable", 1011, Advice.BACK_OFF)
    # The session ended.
    SESSION_EXPIRED = _Row("session-expired", 4440, Advice.LOG_IN)
    LOGGED_OUT = _Row("logged-out", 4441, Advice.LOG_IN)
    SESSION_INVALID = _Row("session-invalid", 4441, Advice.LOG_IN)
    TERMINATED = _Row("terminated", 4410, Advice.GIVE_UP)
    # The connection's own bounds.
    IDLE_TIMEOUT = _Row("idle-timeout", 4408, Advice.RECONNECT_WHEN_NEEDED)
    MAX_DURATION = _Row("max-duration", 1012, Advice.RECONNECT)
    DRAINING = _Row("draining", 1012, Advice.RECONNECT)
    MIGRATING = _Row("migrating", 1012, Advice.RECONNECT)
    # What a peer did on the wire.
    MESSAGE_RATE = _Row("message-rate", 4429, Advice.BACK_OFF)
    BANDWIDTH = _Row("bandwidth", 4429, Advice.BACK_OFF)
    MESSAGE_TOO_BIG = _Row("message-too-big", 1009, Advice.GIVE_UP)
    MESSAGE_TYPE_DENIED = _Row("message-type-denied", 1003, Advice.GIVE_UP)
    PROTOCOL_ERROR = _Row("protocol-error", 1002, Advice.GIVE_UP)
    SLOW_CONSUMER = _Row("slow-consumer", 1013, Advice.BACK_OFF)
    # Endings that nobody can be told of.
    KEEPALIVE_TIMEOUT = _Row("keepalive-timeout", 0, Advice.NOTHING)
    CLIENT_LOST = _Row("client-lost", 0, Advice.NOTHING)
    HANDSHAKE_TIMEOUT = _Row("handshake-timeout", 0, Advice.NOTHING)
    # Endings the peers agreed on: a Close frame of their own, which the guard passed on and only records.
    CLIENT_CLOSED = _Row("client-closed", 0, Advice.NOTHING)
    BACKEND_CLOSED = _Row("backend-closed", 0, Advice.NOTHING)

    @property
    def token(self) -> str:
        """The word for this ending, exactly as on the wire, in logs and in metrics."""
        return self.value.token

    @property
    def code(self) -> int:
        """The close code of the default profile; 0 where nothing is sent."""
        return self.value.code

    @property
    def advice(self) -> Advice:
        """What the client should do."""
        return self.value.advice


NORMAL = 1000
"""What answers a Close that carries no code (RFC 6455 §7.4.1)."""

GOING_AWAY = 1001
"""What the backend is told when the guard cuts (RFC 6455 §7.4.1): the client is leaving, for its reason."""

RESTARTS = frozenset((GOING_AWAY, 1012))
"""The codes by which a backend says that it stops, and has nothing against this client."""

REASON_BY_TOKEN = {reason.token: reason for reason in CloseReason}


def is_sendable(code: int) -> bool:
    """True for a code that may stand in a Close frame (RFC 6455 §7.4.2 and IANA's registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
