"""A decision is a value: `Admit` or `Refuse`, with the steps that led to it."""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.policy.credentials import Credential
from wsguard.policy.model import WebSocketPolicy
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity


@dataclass(frozen=True, slots=True)
class Refuse:
    """No. `detail` is for the log and for `explain`: a sentence with no secret in it, never sent to the client."""

    reason: CloseReason
    detail: str
    policy: WebSocketPolicy | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """Yes, under `policy`, as `identity` (None: anonymous).

    `credentials` is everything in the handshake that was read as a credential: what of it the backend may not see is
    erased before the dial. `identity_headers` are added to the request that the backend gets.
    """

    policy: WebSocketPolicy
    identity: Identity | None = None
    credentials: tuple[Credential, ...] = ()
    identity_headers: tuple[tuple[bytes, bytes], ...] = ()


Decision = Admit | Refuse
