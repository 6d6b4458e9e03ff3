"""The end of a session, as guards, applications and scripts tell it to one another: docs/session-events.md.

Reading is strict. A member that is not known might narrow what an event means, so an event that has one is refused as
a whole and never half understood.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.logout import Logout, LogoutKind

MAX_EVENT = 16 * 1024
"""Bytes of one event."""

MAX_WORD = 8 * 1024
"""Characters of a sid, subject, jti or issuer: no token is longer."""

CLOCK_ALLOWANCE = 3_600.0
"""Seconds by which a moment in an event may lie ahead: clocks differ, but milliseconds for seconds are a mistake."""

MAX_ID = 128
"""Characters of an event's id."""

_KINDS: tuple[LogoutKind, ...] = get_args(LogoutKind)
_MEMBERS = frozenset((*_KINDS, "issuer", "issuedBefore", "ifAdmitted", "at", "id"))
_COOKIE = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """What ended, and when somebody noticed: `at` is seconds since the epoch. `id` names the event in logs.

    `if_admitted`: whoever noticed cannot tell whether the cookie was ever good, so it ends only where it was admitted.
    Applying one twice, or two in another order, comes to the same.
    """

    id: str
    logout: Logout
    at: float
    if_admitted: bool = False


class BadEvent(ValueError):
    """A document that is no session end. The message is a sentence that quotes no value of it."""


def next_second(moment: float) -> float:
    """The first `iat` that is not before `moment`: `iat` has whole seconds, and what is of this one is meant too."""
    return math.floor(moment) + 1.0


def parse(document: bytes, entry: str, stored_at: float) -> SessionEnd:
    """The session end in `document`. Raises BadEvent.

    `entry` names it where it has no `id`, `stored_at` (seconds since the epoch) is its moment where it has no `at`.
    """
    if len(document) > MAX_EVENT:
        raise BadEvent(f"it has more than {MAX_EVENT} bytes")
    try:
        members = parse_object(document)
    except ValueError as error:
        raise BadEvent(f"it is {error}") from None
    if not _MEMBERS.issuperset(members):
        raise BadEvent(f"it has a member that is none of {', '.join(sorted(_MEMBERS))}")
    at = _moment(members, "at", stored_at)
    kind = _kind(members)
    issuer = _text(members, "issuer", MAX_WORD) if "issuer" in members else None
    if kind != "subject" and "issuedBefore" in members:
        raise BadEvent("issuedBefore goes with subject: the others are logged out outright")
    if_admitted = members.get("ifAdmitted", False)
    if not isinstance(if_admitted, bool) or (if_admitted and kind != "cookie"):
        raise BadEvent("ifAdmitted is not true or false, or does not go with cookie")
    issued_before = _moment(members, "issuedBefore", stored_at) if "issuedBefore" in members else next_second(at)
    event_id = _text(members, "id", MAX_ID) if "id" in members else entry
    return SessionEnd(event_id, Logout(kind, _word(members, kind), issuer, issued_before), at, if_admitted)


def serialize(event: SessionEnd) -> bytes:
    """`event` as a document that `parse` reads back."""
    logout = event.logout
    members: dict[str, object] = {logout.kind: logout.word}
    if logout.issuer is not None:
        members["issuer"] = logout.issuer
    if logout.kind == "subject":
        members["issuedBefore"] = logout.issued_before
    if event.if_admitted:
        members["ifAdmitted"] = True
    return json.dumps({**members, "at": event.at, "id": event.id}, separators=(",", ":")).encode()


def _kind(members: Mapping[str, Any]) -> LogoutKind:
    given = [kind for kind in _KINDS if kind in members]
    if len(given) != 1:
        raise BadEvent(f"it does not have exactly one of {', '.join(_KINDS)}")
    return given[0]


def _word(members: Mapping[str, Any], kind: LogoutKind) -> str:
    word = _text(members, kind, MAX_WORD)
    if kind == "cookie" and not _COOKIE.fullmatch(word):
        raise BadEvent("cookie is not sha256: and the 64 hex digits of the value's SHA-256")
    return word


def _text(members: Mapping[str, Any], name: str, most: int) -> str:
    value = members[name]
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise BadEvent(f"{name} is not a string of 1 to {most} characters")
    return value


def _moment(members: Mapping[str, Any], name: str, stored_at: float) -> float:
    if name not in members:
        return stored_at
    value = members[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise BadEvent(f"{name} is not a number of seconds since the epoch")
    if value > stored_at + CLOCK_ALLOWANCE:
        raise BadEvent(f"{name} is in the future; it is a number of seconds, not of milliseconds")
    return float(value)
