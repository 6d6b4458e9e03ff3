"""Close codes per client library: the same ending, in the number that makes that library do what is advised.

A library decides by the number alone whether it comes back. The default profile speaks to scripts that read
`CloseEvent.code`; the others are for clients whose retry loop is built in (tests/scenarios/test_profiles.py runs each
real library against its table).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from wsguard.protocol.reasons import Advice, CloseReason


class Profile(Enum):
    """Whose codes are spoken."""

    DEFAULT = "default"
    GRAPHQL_WS = "graphql-ws"
    CENTRIFUGE = "centrifuge"
    PUSHER = "pusher"


@dataclass(frozen=True, slots=True)
class CodeTable:
    """A code for each advice, and the reasons that have one of their own."""

    by_advice: dict[Advice, int]
    by_reason: dict[CloseReason, int] = field(default_factory=dict)


_R = CloseReason

PROFILES: dict[Profile, CodeTable] = {
    # The default profile is the enum itself; these are for a backend's status (4000 + status) only.
    Profile.DEFAULT: CodeTable({}, {reason: reason.code for reason in CloseReason}),
    # Fatal to graphql-ws: 4400, 4401, 4406, 4429 and most 1xxx; 4403 and 4408 make it come back.
    Profile.GRAPHQL_WS: CodeTable(
        {
            Advice.LOG_IN: 4401,
            Advice.GIVE_UP: 4400,
            Advice.BACK_OFF: 1013,
            Advice.RECONNECT: 1012,
            Advice.RECONNECT_WHEN_NEEDED: 4408,
        },
        {
            _R.SUBPROTOCOL_DENIED: 4406,
            _R.BACKEND_TIMEOUT: 4504,
            _R.BACKEND_LOST: 1014,
            _R.MESSAGE_TOO_BIG: 1009,
            _R.MESSAGE_TYPE_DENIED: 1003,
            _R.PROTOCOL_ERROR: 1002,
        },
    ),
    # Final to Centrifuge's SDKs: 3500-3999 and 4500-4999; the rest makes them come back.
    Profile.CENTRIFUGE: CodeTable(
        {
            Advice.LOG_IN: 4501,
            Advice.GIVE_UP: 4503,
            Advice.BACK_OFF: 1013,
            Advice.RECONNECT: 1012,
            Advice.RECONNECT_WHEN_NEEDED: 4408,
        },
        {_R.SESSION_EXPIRED: 4540, _R.LOGGED_OUT: 4541, _R.SESSION_INVALID: 4541, _R.TERMINATED: 4510},
    ),
    # Pusher: 4000-4099 final, 4100-4199 after a second or more, 4200-4299 at once.
    Profile.PUSHER: CodeTable(
        {
            Advice.LOG_IN: 4009,
            Advice.GIVE_UP: 4003,
            Advice.BACK_OFF: 4100,
            Advice.RECONNECT: 4200,
            Advice.RECONNECT_WHEN_NEEDED: 4201,
        },
    ),
}


def code_for(profile: Profile, reason: CloseReason, status: int | None = None) -> int:
    """The close code of `reason` in `profile`; 0 where nothing is sent.

    `status` is the HTTP status that a backend refused with, for `backend-refused` only.
    """
    if reason.advice is Advice.NOTHING:
        return 0
    if reason is CloseReason.BACKEND_REFUSED and status is not None:
        return _backend_code(profile, status)
    table = PROFILES[profile]
    return table.by_reason.get(reason) or table.by_advice[reason.advice]


def advice_for(reason: CloseReason, status: int | None = None) -> Advice:
    """What the client should do; a backend's own refusal is read from its HTTP status."""
    if reason is not CloseReason.BACKEND_REFUSED or status is None:
        return reason.advice
    if 300 <= status < 400 or status == 401:
        return Advice.LOG_IN
    return Advice.BACK_OFF if status in (408, 425, 429) or status >= 500 else Advice.GIVE_UP


def _backend_code(profile: Profile, status: int) -> int:
    if profile is not Profile.DEFAULT:
        return PROFILES[profile].by_advice[advice_for(CloseReason.BACKEND_REFUSED, status)]
    if 300 <= status < 400:
        return CloseReason.CREDENTIAL_MISSING.code
    return CloseReason.BACKEND_REFUSED.code + status
