"""A decision is a value: `Admit` or `Refuse`."""

from __future__ import annotations

from dataclasses import dataclass

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity


@dataclass(frozen=True, slots=True)
class Refuse:
    """No. `detail` is for the log and for `explain`: a sentence with no secret in it, never sent to the client.

    `wait` is the seconds before which it would be the same again, as far as that is known.
    """

    reason: CloseReason
    detail: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Admit:
    """Yes, as `identity` (None: anonymous); `others` are whom further credentials speak for.

    `identity_headers` are added to the request that the backend gets. `expires_at` (seconds since the epoch, clock
    skew not included) is the earliest end of any credential that was shown; None: nothing expires. `warning` is for the
    log, a sentence with no secret in it: what could not be told on the way here. `others` are the identities of further
    credentials, as in `Connection`.
    """

    identity: Identity | None = None
    identity_headers: tuple[tuple[bytes, bytes], ...] = ()
    expires_at: float | None = None
    warning: str = ""
    others: tuple[Identity, ...] = ()


Decision = Admit | Refuse
